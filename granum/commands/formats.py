"""``granum formats``: the formats and what each keeps."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """No flags."""


def run(a: argparse.Namespace) -> Outcome:
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
