"""``granum formats``: the formats, what each keeps, and how it was checked."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from granum.commands._common import Outcome

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "name", nargs="?", metavar="NAME", help="one format, with all that is known of it"
    )


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import describe_formats, moved_by

    known = describe_formats(a.name)
    if a.name is not None:
        return known, _details(known[0]), 0
    lines = [f"{'format':<18}{'does':<12}{'checked on':<12}{'extra':<7}title"]
    for f in known:
        does = "read, write" if f["writes"] else "read"
        lines.append(
            f"{f['name']:<18}{does:<12}{f['checked']:<12}{f['extra'] or '':<7}{f['title']}"
        )
        lines += _wrapped("keeps ", f["keeps"])
        if f["tolerance"]:
            lines += _wrapped("moves ", [f"{n} {moved_by(v)}" for n, v in f["tolerance"].items()])
    lines.append("granum formats NAME tells options and where the format is described.")
    return known, "\n".join(lines), 0


def _wrapped(title: str, words: list[str]) -> list[str]:
    return textwrap.wrap(
        title + ", ".join(words), 100, initial_indent="    ", subsequent_indent=" " * 10
    )


def _details(f: dict[str, Any]) -> str:
    """One format, for people."""
    from granum.verbs.look import moved_by

    does = "reads and writes" if f["writes"] else "reads"
    lines = [f"{f['name']}: {f['title']}", f"  {does}; checked on {f['checked']}; {f['spec']}"]
    if f["extra"]:
        lines.append(f"  needs pip install 'granum[{f['extra']}]'")
    lines += _wrapped("keeps ", f["keeps"])
    if f["tolerance"]:
        lines += _wrapped("moves ", [f"{n} {moved_by(v)}" for n, v in f["tolerance"].items()])
    for way in ("read", "write"):
        options = ["--" + o.replace("_", "-") for o in f[f"{way}_options"]]
        if options:
            lines += _wrapped(f"options to {way}: ", options)
    return "\n".join([*lines, "", f["text"]])
