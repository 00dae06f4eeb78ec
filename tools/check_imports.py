"""Imports run one way: errors, registry -> schema -> store -> rooms -> verbs -> cli.

Rooms do not import each other, but for the exceptions below. Also: no file above 400 lines, and no
format's name outside its own file and the lazy table.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "granum"
BASE = ("errors", "registry")
ROOMS = ("loaders", "annotate", "curate", "metrics", "train", "browse", "synthetic")
LEVELS = {
    **dict.fromkeys(BASE, 0),
    "schema": 1,
    "store": 2,
    **dict.fromkeys(ROOMS, 3),
    "verbs": 4,
    "testing": 5,
    "commands": 5,
    "cli": 6,
}
ALLOWED = {("train", "metrics")}
"""Rooms that may import another one."""

LATE = {("store", "loaders"), ("store", "browse"), ("errors", "schema")}
"""Imports inside functions or for types only that go the other way: conveniences on Dataset."""

MOST_LINES = 400


def room(path: Path) -> str:
    """The part of the package that a file belongs to."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.Module) -> list[tuple[str, int, bool]]:
    """Imported rooms of granum, with their lines, and whether the import runs late."""
    late: set[int] = set()
    for node in ast.walk(tree):
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if inner or typing:
            late |= {id(n) for n in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "granum" and len(parts) > 1 and parts[1] in LEVELS:
                found.append((parts[1], node.lineno, id(node) in late))
    return found


def main() -> int:
    """Print what breaks the rules; returns the exit code."""
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        here, text = room(path), path.read_text(encoding="utf-8")
        where = path.relative_to(ROOT.parent)
        lines = text.count("\n")
        if lines > MOST_LINES:
            wrong.append(f"{where}: {lines} lines (at most {MOST_LINES}): it is two things")
        if here not in LEVELS:
            continue
        for other, line, late in imports(ast.parse(text)):
            if other == here or (late and (here, other) in LATE) or (here, other) in ALLOWED:
                continue
            up, same = LEVELS[other] > LEVELS[here], LEVELS[other] == LEVELS[here] == 3
            if up or same:
                wrong.append(f"{where}:{line}: {here} must not import {other}")
    print("\n".join(wrong) or "imports run one way")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
