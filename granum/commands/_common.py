"""What the verbs of the command line share."""

from __future__ import annotations

import argparse
import json
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from granum.errors import UsageError

if TYPE_CHECKING:
    from granum.schema.findings import Findings

__all__ = [
    "Outcome",
    "add_findings",
    "add_format_options",
    "add_reading",
    "add_sameness",
    "add_settings",
    "add_store",
    "add_workers",
    "code_of",
    "given_options",
    "opened",
    "progress_bar",
    "sameness",
    "settings",
    "words",
]

Outcome = tuple[Any, str, int]
"""The result for ``--json``, the text for people, the exit code."""


def words(text: str) -> list[str]:
    """``A,B`` as a list."""
    return [w for w in text.split(",") if w]


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar with a rate on stderr; none where that is no terminal."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=" samples", file=sys.stderr, leave=False) as bar:

        def advance(n: int) -> None:
            bar.update(n)

        yield advance


def code_of(findings: Findings, fail_on: str, done: bool) -> int:
    """3 where records were skipped or fixed, or findings reached ``fail_on``."""
    if done and findings.on_error != "fail" and findings.errors:
        return 3
    return 3 if fail_on != "never" and findings.at_least(fail_on) else 0  # type: ignore[arg-type]


def opened(a: argparse.Namespace) -> Any:
    """The dataset that ``SRC`` names; faulty records are left out."""
    from granum.verbs.convert import read

    return read(a.source, a.from_, images=a.images, on_error="skip")


def add_reading(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--from", "-if", "--input-format", dest="from_", metavar="FORMAT", help="default: sniffed"
    )
    p.add_argument("--images", metavar="DIR", help="the folder of the images")


def add_store(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="STORE")
    p.add_argument("--images", metavar="DIR", help="where the images are now, if they moved")
    p.add_argument("--layer", metavar="NAME", help="whose annotations count (default: truth)")
    p.add_argument("--no-progress", action="store_true")


def add_sameness(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--near", choices=("phash", "dhash", "both", "none"), default="phash", help="near copies by"
    )
    p.add_argument("--radius", type=int, default=6, metavar="BITS", help="of 64 (default: 6)")
    p.add_argument(
        "--similarity",
        type=float,
        default=0.95,
        metavar="R",
        help="correlation of thumbnails that a near copy needs; 0: not verified",
    )
    p.add_argument("--flips", action="store_true", help="mirrored copies too")


def sameness(a: argparse.Namespace) -> dict[str, Any]:
    """What ``add_sameness`` asked for, as arguments."""
    return {
        "near": None if a.near == "none" else a.near,
        "radius": a.radius,
        "similarity": a.similarity or None,
        "flips": a.flips,
    }


def add_workers(p: argparse.ArgumentParser) -> None:
    p.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    p.add_argument("--scheduler", metavar="tcp://…", help="a Dask cluster instead")


def add_settings(p: argparse.ArgumentParser, of: str) -> None:
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"a parameter of the {of}"
    )


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs; a value that is JSON (a number, true, null, a list) is taken as that.

    Raises:
        UsageError: a pair has no ``=``.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sep, value = pair.partition("=")
        if not sep:
            raise UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def add_findings(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="error",
        help="exit 3 when findings reach this (default: error)",
    )


def add_format_options(p: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    """Flags from the signatures of the formats' read and write."""
    from granum.loaders.base import formats, options_of

    group = p.add_argument_group("options of formats")
    known: dict[str, list[str]] = {}
    kinds: dict[str, set[Any]] = {}
    for name in formats:
        for method in methods:
            function = getattr(formats[name], method)
            hints = typing.get_type_hints(function)
            for option in options_of(function):
                kinds.setdefault(option, set()).update(_plain_kinds(hints[option]))
                known.setdefault(option, []).append(f"{name} ({method})")
    taken = {a.dest for a in p._actions}
    for option, where in sorted(known.items()):
        if option in taken:
            raise ValueError(f"option {option!r} of {where} is a flag of granum itself")
        _add_option(group, option, kinds[option], ", ".join(dict.fromkeys(where)))
    p.set_defaults(format_options=sorted(known))


def _plain_kinds(hint: Any) -> list[Any]:
    """The types, and the texts of literals, that a hint allows beside None."""
    if typing.get_origin(hint) is typing.Literal:
        return [str(c) for c in typing.get_args(hint)]
    inside = [a for a in typing.get_args(hint) if a is not type(None)]
    return [k for a in inside for k in _plain_kinds(a)] if inside else [hint]


def _add_option(group: Any, option: str, kinds: set[Any], help: str) -> None:
    """A flag for what all formats that have the option take. Where some take yes or no and others
    a text, it may stand alone, or with a text, or as ``--no-``."""
    flag = "--" + option.replace("_", "-")
    about: dict[str, Any] = {"help": help, "default": None, "dest": option}
    texts = sorted(k for k in kinds if isinstance(k, str))
    others = kinds - {*texts}
    if kinds == {bool}:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **about)
        return
    kind = next(iter(others), str) if len(others) == 1 and not texts else str
    shown = "|".join(texts) if texts else kind.__name__.upper()
    if bool in kinds:
        group.add_argument(flag, nargs="?", const=True, metavar=shown, **about)
        no = {"action": "store_const", "const": False, "dest": option, "default": None}
        group.add_argument(f"--no-{flag[2:]}", help=argparse.SUPPRESS, **no)
    else:
        group.add_argument(flag, type=kind, metavar=shown, **about)


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    named = {o: getattr(arguments, o) for o in arguments.format_options}
    return {o: v for o, v in named.items() if v is not None}
