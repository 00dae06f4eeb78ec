"""Write docs/formats/*.md and the table of formats from the formats' own facts.

``--check`` only compares, and fails where a page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from granum.verbs.look import describe_formats
from granum.verbs.look import moved_by as by

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "formats"


def page(facts: dict[str, Any], doc: str) -> str:
    """One format's page."""
    name, keeps = facts["name"], ", ".join(f"`{k}`" for k in facts["keeps"])
    lines = [f"# {facts['title']} (`{name}`)", "", doc, ""]
    does = "Read and written" if facts["writes"] else "Read only"
    extra = f" Needs `pip install 'granum[{facts['extra']}]'`." if facts["extra"] else ""
    lines += [f"{does}. Checked on: {facts['checked']}.{extra}", ""]
    if facts["writes"]:
        moved = ", ".join(f"`{k}` {by(v)}" for k, v in facts["tolerance"].items())
        lines += [
            f"Keeps: {keeps}. What else a dataset holds is refused (`LossError`), or lost where "
            "`--allow-loss` says so.",
            "",
            f"Moves within tolerance (pixels, or the column's unit): {moved or 'nothing'}.",
        ]
    else:
        lines.append(f"Fills: {keeps}.")
    lines += ["", "Options:", ""]
    for way, listed in (("reading", facts["read_options"]), ("writing", facts["write_options"])):
        if way == "reading" or facts["writes"]:
            flags = ", ".join(f"`--{str(o).replace('_', '-')}`" for o in listed)
            lines.append(f"- {way}: {flags or 'none'}")
    lines += ["", "```", f"granum convert DATA data.granum --from {name}"]
    if facts["writes"]:
        lines.append(f"granum convert data.granum OUT --to {name}")
    return "\n".join([*lines, "```", ""])


def main() -> int:
    """Write or compare the pages; returns the exit code."""
    check = "--check" in sys.argv[1:]
    rows = ["| format | reads | writes | checked on | page |", "|---|---|---|---|---|"]
    wanted = {}
    for facts in describe_formats():
        wanted[f"{facts['name']}.md"] = page(facts, facts["text"])
        yes = ["yes" if facts[k] else "no" for k in ("reads", "writes")]
        rows.append(
            f"| `{facts['name']}` | {yes[0]} | {yes[1]} | {facts['checked']} "
            f"| [{facts['title']}]({facts['name']}.md) |"
        )
    intro = (
        "Trees of other tools that are at hand for tests, and what reads each: [trees](trees.md)."
    )
    wanted["README.md"] = "# Formats\n\n" + "\n".join(rows) + f"\n\n{intro}\n"
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
