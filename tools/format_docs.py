"""Write docs/formats/*.md and the table of formats from the formats' own facts.

``--check`` only compares, and fails where a page is out of date.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from granum.loaders.base import formats
from granum.verbs.look import describe_formats

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "formats"


def page(facts: dict[str, Any], doc: str) -> str:
    """One format's page."""
    keeps = ", ".join(f"`{k}`" for k in facts["keeps"])
    tolerance = facts["tolerance"]
    moved = ", ".join(f"`{k}` by at most {v:g}" for k, v in tolerance.items()) or "nothing"
    options = [
        f"- {way}: " + (", ".join(f"`--{str(o).replace('_', '-')}`" for o in listed) or "none")
        for way, listed in (
            ("reading", facts["read_options"]),
            ("writing", facts["write_options"]),
        )
    ]
    return "\n".join(
        [
            f"# {facts['title']} (`{facts['name']}`)",
            "",
            doc,
            "",
            f"Reads: {'yes' if facts['reads'] else 'no'}. Writes: "
            f"{'yes' if facts['writes'] else 'no'}. Checked on: {facts['checked']}.",
            "",
            f"Keeps: {keeps}. What else a dataset holds is refused (`LossError`), or lost where "
            "`--allow-loss` says so.",
            "",
            f"Moves within tolerance (pixels, or the column's unit): {moved}.",
            "",
            "Options:",
            "",
            *options,
            "",
            "```",
            f"granum convert DATA data.granum --from {facts['name']}",
            f"granum convert data.granum OUT --to {facts['name']}",
            "```",
            "",
        ]
    )


def main() -> int:
    """Write or compare the pages; returns the exit code."""
    check = "--check" in sys.argv[1:]
    rows = ["| format | reads | writes | checked on | page |", "|---|---|---|---|---|"]
    wanted = {}
    for facts in describe_formats():
        module = import_module(formats[str(facts["name"])].__module__)
        wanted[f"{facts['name']}.md"] = page(facts, inspect.cleandoc(module.__doc__ or ""))
        yes = ["yes" if facts[k] else "no" for k in ("reads", "writes")]
        rows.append(
            f"| `{facts['name']}` | {yes[0]} | {yes[1]} | {facts['checked']} "
            f"| [{facts['title']}]({facts['name']}.md) |"
        )
    wanted["README.md"] = "# Formats\n\n" + "\n".join(rows) + "\n"
    stale = []
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run make docs")
        return 1
    print("pages of formats are up to date" if not stale else f"wrote {', '.join(stale)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
