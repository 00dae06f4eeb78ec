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
from typing import TYPE_CHECKING, Any

from granum.errors import GranumError, LossError, UsageError
from granum.flags import given_options, make_parser

if TYPE_CHECKING:
    from granum.schema.findings import Findings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = make_parser(words).parse_args(words)
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
                options=given_options(a),
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
    if done.mapped:
        moved = ", ".join(f"{k} {v}" for k, v in done.mapped["moved"].items()) or "none"
        lines.append(
            f"map: moved {moved}; dropped {done.mapped['annotations_dropped']} annotations"
        )
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

    found = validate(
        a.source, a.from_, images=a.images, check_media=a.check_media, **given_options(a)
    )
    text = (
        f"{found.path} ({found.format}): {found.samples} samples, {found.annotations} annotations "
        f"read\n{found.findings.table(a.examples)}"
    )
    return found.to_dict(), text, _code(found.findings, a.fail_on, False)


def _diff(a: argparse.Namespace) -> Outcome:
    from granum.verbs.diff import diff

    found = diff(
        a.a,
        a.b,
        layer=a.layer,
        tolerance=a.tolerance,
        examples=a.examples,
        by=a.by,
        ignore=a.ignore,
    )
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
        conflict=a.conflict,
        ids=a.ids,
        sources=a.sources,
        prefix=a.prefix,
        out=None if a.dry_run else target,
        overwrite=a.overwrite,
        dry_run=a.dry_run,
    )
    return report.to_dict(), report.table(), 1 if report.refused else 0


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
