"""Verbs and flags of the command line. Formats bring theirs by their signatures."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from granum import __version__
from granum.errors import UsageError

__all__ = ["VERBS", "given_options", "make_parser"]

VERBS = {
    "convert": "convert a dataset to another format, or to a store (.granum), or from one",
    "info": "what a store or dataset holds",
    "show": "draw a sample with its annotations",
    "validate": "find every fault of a dataset",
    "diff": "what differs between two datasets",
    "merge": "unite datasets",
    "formats": "the formats, what each keeps, and its options",
    "demo": "make a dataset from a seed and walk the main job on it",
    "gc": "remove files of a store that nothing names",
}


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as ``UsageError``, so that ``--json`` holds for it too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="granum",
        description="Vision datasets: convert without silent loss, validate, diff, merge.",
    )
    parser.add_argument("--version", action="version", version=f"granum {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    chosen = next((w for w in words if w in VERBS), None)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary)
        if name == chosen:  # the others' flags, and the formats behind them, are not needed
            FLAGS[name](verb)
            verb.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _words(text: str) -> list[str]:
    return [w for w in text.split(",") if w]


def _reading(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--from", "-if", "--input-format", dest="from_", metavar="FORMAT", help="default: sniffed"
    )
    p.add_argument("--images", metavar="DIR", help="the folder of the images")


def _findings(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="error",
        help="exit 3 when findings reach this (default: error)",
    )


def _format_options(p: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    """Flags from the signatures of the formats' read and write."""
    from granum.loaders.base import formats, options_of

    group = p.add_argument_group("options of formats")
    known: dict[str, list[str]] = {}
    kinds: dict[str, Any] = {}
    for name in formats:
        for method in methods:
            function = getattr(formats[name], method)
            hints = typing.get_type_hints(function)
            for option in options_of(function):
                kinds.setdefault(option, hints[option])
                known.setdefault(option, []).append(f"{name} ({method})")
    taken = {a.dest for a in p._actions}
    for option, where in sorted(known.items()):
        if option in taken:
            raise ValueError(f"option {option!r} of {where} is a flag of granum itself")
        flag = "--" + option.replace("_", "-")
        about: dict[str, Any] = {
            "help": ", ".join(dict.fromkeys(where)),
            "default": None,
            "dest": option,
        }
        plain = [a for a in typing.get_args(kinds[option]) if a is not type(None)]
        kind = (
            plain[0]
            if plain and typing.get_origin(kinds[option]) is not typing.Literal
            else kinds[option]
        )
        choices: set[str] = set()
        if typing.get_origin(kind) is typing.Literal:
            choices |= {str(c) for c in typing.get_args(kind)}
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **about)
        elif choices:
            group.add_argument(flag, metavar="|".join(sorted(choices)), **about)
        else:
            group.add_argument(
                flag, type=kind, metavar=getattr(kind, "__name__", "x").upper(), **about
            )
    p.set_defaults(format_options=sorted(known))


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    named = {o: getattr(arguments, o) for o in arguments.format_options}
    return {o: v for o, v in named.items() if v is not None}


def _convert_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    p.add_argument("target", metavar="DST")
    _reading(p)
    p.add_argument(
        "--to", "-f", "--output-format", metavar="FORMAT", help="default: granum, for .granum"
    )
    p.add_argument(
        "--on-error", choices=("fail", "skip", "fix"), default="fail", help="faulty records"
    )
    p.add_argument(
        "--allow-loss", type=_words, default=[], metavar="A,B", help="what may be lost; all"
    )
    p.add_argument("--report", metavar="FILE", help="write the loss report and findings as JSON")
    p.add_argument("--media", choices=("none", "copy", "link", "hardlink"), default="none")
    p.add_argument(
        "--map", action="append", default=[], metavar="OLD=NEW|FILE", help="rename categories"
    )
    p.add_argument("--categories", type=_words, metavar="A,B", help="keep only these")
    p.add_argument("--where", action="append", default=[], metavar="EXPR", help='e.g. "area > 100"')
    p.add_argument("--split", help="keep only this split")
    p.add_argument("--drop-empty", action="store_true", help="drop samples without annotations")
    p.add_argument("--layer", help="which layer to write (default: truth)")
    p.add_argument(
        "--check-media", action="store_true", help="check that images exist, decode, fit"
    )
    p.add_argument("--overwrite", action="store_true", help="replace DST")
    p.add_argument("--dry-run", action="store_true", help="write nothing")
    p.add_argument("--no-progress", action="store_true")
    _findings(p)
    _format_options(p, ("read", "write"))


def _info_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    _reading(p)


def _show_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    p.add_argument(
        "key", nargs="?", metavar="SAMPLE", help="key, file name or row (default: the first)"
    )
    p.add_argument("-o", "--output", required=True, metavar="PNG")
    _reading(p)
    p.add_argument("--layer")
    p.add_argument("--max-size", type=int, metavar="PIXELS")
    p.add_argument("--overwrite", action="store_true")


def _validate_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    _reading(p)
    p.add_argument(
        "--check-media", action="store_true", help="check that images exist, decode, fit"
    )
    p.add_argument("--examples", type=int, default=3, metavar="N", help="places shown per finding")
    _findings(p)
    _format_options(p, ("read",))


def _diff_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("a", metavar="A")
    p.add_argument("b", metavar="B")
    p.add_argument("--layer")
    p.add_argument(
        "--by", choices=("key", "name", "source_id"), default="key", help="what tells samples apart"
    )
    p.add_argument("--tolerance", type=float, default=0.0, metavar="PIXELS")
    p.add_argument("--examples", type=int, default=10, metavar="N")
    p.add_argument("--ignore", type=_words, default=[], metavar="A,B", help="columns left aside")
    p.add_argument("--exit-code", action="store_true", help="exit 3 when they differ")


def _merge_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("paths", nargs="+", metavar="SRC… DST")
    p.add_argument("--map", metavar="FILE", help="categories: old names to new ones (YAML or JSON)")
    p.add_argument(
        "--on-key", choices=("fail", "rename", "first", "join"), default="fail", help="equal keys"
    )
    p.add_argument("--ids", choices=("keep", "renumber"), default="keep", help="equal source ids")
    p.add_argument("--conflict", choices=("fail", "first"), default="fail", help="unequal facts")
    p.add_argument(
        "--sources",
        choices=("keep", "forget"),
        default="keep",
        help="keep the source files apart when written back, or forget them",
    )
    p.add_argument("--prefix", type=_words, metavar="A,B", help="of keys, one per source")
    p.add_argument("--overwrite", action="store_true")
    p.add_argument("--dry-run", action="store_true", help="only say what would happen")


def _demo_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("target", nargs="?", default="demo", metavar="DIR", help="default: demo")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--overwrite", action="store_true")


def _gc_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="STORE")
    p.add_argument("--keep", type=int, metavar="N", help="keep only the N newest states")
    p.add_argument("--older-than", type=float, default=3600.0, metavar="SECONDS")
    p.add_argument("--dry-run", action="store_true")


FLAGS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "convert": _convert_flags,
    "info": _info_flags,
    "show": _show_flags,
    "validate": _validate_flags,
    "diff": _diff_flags,
    "merge": _merge_flags,
    "formats": lambda p: None,
    "demo": _demo_flags,
    "gc": _gc_flags,
}
