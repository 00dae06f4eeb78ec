"""The command line: parse, call a verb, print.

``granum VERB SRC [DST]``. With ``--json`` exactly one object goes to stdout, an error too; progress
and warnings go to stderr. Exit: 0 done; 1 refused or failed, nothing written; 2 usage; 3 done, but
records were skipped or fixed, or findings reached ``--fail-on``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from granum import __version__
from granum.errors import GranumError, LossError, UsageError

if TYPE_CHECKING:
    from granum.schema.findings import Findings

__all__ = ["main"]

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(words).parse_args(words)
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except UsageError as error:
        return _fail(error, "--json" in words)
    try:
        result, text, code = COMMANDS[arguments.verb](arguments)
    except (GranumError, OSError) as error:
        return _fail(error, arguments.json)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print(json.dumps(result, ensure_ascii=False, indent=1, default=str) if arguments.json else text)
    return code


def _fail(error: GranumError | OSError, as_json: bool) -> int:
    code = error.code if isinstance(error, GranumError) else "os"
    if as_json:
        details = error.details() if isinstance(error, GranumError) else {}
        message = str(error).partition("\n")[0]
        print(json.dumps({"error": {"code": code, "message": message, **details}}, default=str))
    else:
        print(f"granum: {error}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


# ---------------------------------------------------------------------- parsing


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as ``UsageError``, so that ``--json`` holds for it too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
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
    import typing

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


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
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
        "--by", choices=("key", "source_id"), default="key", help="what tells samples apart"
    )
    p.add_argument("--tolerance", type=float, default=0.0, metavar="PIXELS")
    p.add_argument("--examples", type=int, default=10, metavar="N")
    p.add_argument("--exit-code", action="store_true", help="exit 3 when they differ")


def _merge_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("paths", nargs="+", metavar="SRC… DST")
    p.add_argument("--map", metavar="FILE", help="categories: old names to new ones (YAML or JSON)")
    p.add_argument(
        "--on-key", choices=("fail", "rename", "first", "join"), default="fail", help="equal keys"
    )
    p.add_argument("--ids", choices=("keep", "renumber"), default="keep", help="equal source ids")
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

# ---------------------------------------------------------------------- commands

Outcome = tuple[Any, str, int]


@contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar with a rate on stderr; none where that is no terminal."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=" samples", file=sys.stderr, leave=False) as bar:

        def advance(n: int) -> None:
            bar.update(n)

        yield advance


def _code(findings: Findings, fail_on: str, done: bool) -> int:
    """3 where records were skipped or fixed, or findings reached ``fail_on``."""
    if done and findings.on_error != "fail" and findings.errors:
        return 3
    return 3 if fail_on != "never" and findings.at_least(fail_on) else 0  # type: ignore[arg-type]


def _maps(given: list[str]) -> Any:
    """``old=new`` pairs as a mapping, or one file of them."""
    if not given:
        return None
    pairs = [g.partition("=") for g in given]
    if all(sep for _, sep, _ in pairs):
        return {old: new or None for old, _, new in pairs}
    if len(given) > 1:
        raise UsageError("--map takes OLD=NEW pairs, or one file")
    return given[0]


def _convert(a: argparse.Namespace) -> Outcome:
    from pathlib import Path

    from granum.verbs.convert import convert

    def report(facts: dict[str, Any]) -> None:
        if a.report:
            Path(a.report).write_text(
                json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8"
            )

    try:
        with _progress(not a.no_progress) as progress:
            done = convert(
                a.source,
                a.target,
                from_=a.from_,
                to=a.to,
                images=a.images,
                on_error=a.on_error,
                allow_loss=a.allow_loss,
                media=a.media,
                map=_maps(a.map),
                categories=a.categories,
                where=a.where,
                split=a.split,
                drop_empty=a.drop_empty,
                layer=a.layer,
                check_media=a.check_media,
                overwrite=a.overwrite,
                dry_run=a.dry_run,
                options=_given(a),
                progress=progress,
            )
    except LossError as error:
        report({"refused": error.refused, "losses": error.report.to_dict()})
        raise
    facts = done.to_dict()
    report(facts)
    counts = done.written
    what = ", ".join(f"{counts[k]} {k}" for k in ("samples", "annotations", "categories"))
    lines = [f"{done.source} ({done.format}: {done.why}) -> {done.target} ({done.to})"]
    lines.append(f"{'would write' if a.dry_run else 'wrote'} {what} in {done.seconds:.1f} s")
    if done.read != counts:
        lines.append(
            f"of {done.read['samples']} samples, {done.read['annotations']} annotations read"
        )
    if done.findings.counts:
        lines.append(done.findings.table())
    if done.to != "granum":
        lines.append(done.losses.table())
    lines += [f"note: {n}" for n in facts["notes"]]
    return facts, "\n".join(lines), _code(done.findings, a.fail_on, True)


def _opened(a: argparse.Namespace) -> Any:
    from granum.verbs.convert import read

    return read(a.source, a.from_, images=a.images, on_error="skip")


def _info(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import info, info_text

    facts = info(_opened(a))
    return facts, info_text(facts), 0


def _show(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import show

    dataset = _opened(a)
    if a.layer:
        dataset = dataset.layer(a.layer)
    picture = show(dataset, a.key, a.output, overwrite=a.overwrite, max_size=a.max_size)
    facts = {"output": a.output, "width": picture.width, "height": picture.height}
    return facts, f"wrote {a.output} ({picture.width} x {picture.height})", 0


def _validate(a: argparse.Namespace) -> Outcome:
    from granum.verbs.validate import validate

    found = validate(a.source, a.from_, images=a.images, check_media=a.check_media, **_given(a))
    text = (
        f"{found.path} ({found.format}): {found.samples} samples, {found.annotations} annotations "
        f"read\n{found.findings.table(a.examples)}"
    )
    return found.to_dict(), text, _code(found.findings, a.fail_on, False)


def _diff(a: argparse.Namespace) -> Outcome:
    from granum.verbs.diff import diff

    found = diff(a.a, a.b, layer=a.layer, tolerance=a.tolerance, examples=a.examples, by=a.by)
    return found.to_dict(), found.table(), 3 if a.exit_code and not found.same else 0


def _merge(a: argparse.Namespace) -> Outcome:
    from granum.verbs.merge import merge

    if len(a.paths) < 2:
        raise UsageError("merge takes sources and, last, the store to write")
    *sources, target = a.paths
    _, report = merge(
        sources,
        map=a.map,
        on_key=a.on_key,
        ids=a.ids,
        out=None if a.dry_run else target,
        overwrite=a.overwrite,
        dry_run=a.dry_run,
    )
    return report.to_dict(), report.table(), 0


def _formats(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import describe_formats

    known = describe_formats()
    lines = [f"{'format':<16}{'read':<6}{'write':<7}{'checked on':<12}keeps"]
    for f in known:
        yes = ["yes" if f[k] else "no" for k in ("reads", "writes")]
        lines.append(
            f"{f['name']:<16}{yes[0]:<6}{yes[1]:<7}{f['checked']:<12}{', '.join(f['keeps'])}"
        )
        options = sorted({*f["read_options"], *f["write_options"]})
        if options:
            lines.append(
                f"{'':<41}options: " + ", ".join("--" + o.replace("_", "-") for o in options)
            )
    return known, "\n".join(lines), 0


def _demo(a: argparse.Namespace) -> Outcome:
    from granum.verbs.demo import demo

    facts = demo(a.target, seed=a.seed, overwrite=a.overwrite)
    return facts, "\n".join(facts["summary"]), 0


def _gc(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import gc

    removed = gc(a.source, keep=a.keep, older_than=a.older_than, dry_run=a.dry_run)
    what = "would remove" if a.dry_run else "removed"
    return {"removed": removed}, "\n".join([*removed, f"{what} {len(removed)} files"]), 0


COMMANDS: dict[str, Callable[[argparse.Namespace], Outcome]] = {
    "convert": _convert,
    "info": _info,
    "show": _show,
    "validate": _validate,
    "diff": _diff,
    "merge": _merge,
    "formats": _formats,
    "demo": _demo,
    "gc": _gc,
}

if __name__ == "__main__":
    sys.exit(main())
