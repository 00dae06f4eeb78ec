"""What a tree that no format recognises looks like: what is in it, and whose documented tree
comes nearest."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections import Counter, deque
from pathlib import Path

from granum.loaders.base import Format, formats

__all__ = ["looked_at", "nearest"]

ENTRIES = 2000

_BLOCK = re.compile(r"::\n((?:\n| {2,}.*(?:\n|$))+)")
_WORD = re.compile(r"[^\s,;()\[\]{}|]+")
_COMMON = frozenset({".jpg", ".png", ".jpeg", ".md"})


def _features(paths: list[str]) -> set[str]:
    """Names of folders, whole names of files and their suffixes, in lower case."""
    found = set()
    for path in paths:
        *folders, name = path.lower().split("/")
        found |= {f"{f}/" for f in folders if f}
        if name:
            found.add(name)
            if "." in name[1:]:
                found.add(name[name.rfind(".") :])
    return found - _COMMON


def _documented(format_: type[Format]) -> set[str]:
    """The features of the trees in the text of a format's module."""
    text = inspect.cleandoc(inspect.getmodule(format_).__doc__ or "")  # type: ignore[union-attr]
    words = [w for block in _BLOCK.findall(text) for w in _WORD.findall(block)]
    return _features([w for w in words if "/" in w or "." in w[1:-1]])


def _walk(root: Path) -> list[str]:
    """Relative paths below a folder, folders with ``/`` at the end, those near it first."""
    found: list[str] = []
    waiting = deque([root])
    while waiting and len(found) < ENTRIES:
        folder = waiting.popleft()
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda e: e.name):
                    relative = Path(entry.path).relative_to(root).as_posix()
                    if entry.is_dir() and not entry.is_symlink():
                        waiting.append(Path(entry.path))
                        found.append(f"{relative}/")
                    else:
                        found.append(relative)
        except (OSError, ValueError):
            continue
    return found[:ENTRIES]


def looked_at(root: Path) -> str:
    """What lies in a folder, or what a file is, in a line."""
    if root.is_file():
        return f"a file of {root.stat().st_size} bytes named {root.name!r}"
    paths = _walk(root)
    if not paths:
        return "the folder is empty"
    files = [p for p in paths if not p.endswith("/")]
    kinds = Counter(Path(p).suffix.lower() or "(no suffix)" for p in files).most_common(5)
    top = sorted({p.partition("/")[0] + ("/" if "/" in p else "") for p in paths})
    more = "at least " if len(paths) == ENTRIES else ""
    told = ", ".join(f"{n} {k}" for k, n in kinds) or "no file"
    return f"it holds {', '.join(top[:8])}{' …' if len(top) > 8 else ''} ({more}{told})"


def nearest(root: Path, limit: int = 3) -> list[tuple[str, list[str]]]:
    """Formats whose documented trees share most with a folder: names and what is shared. What
    many formats have counts little."""
    held = _features(_walk(root) if root.is_dir() else [root.name])
    known = {name: _documented(formats[name]) for name in formats if formats[name].reads()}
    often = Counter(f for features in known.values() for f in features)
    scored = []
    for name, features in known.items():
        shared = sorted(held & features, key=lambda f: (often[f], f))
        score = sum(math.log(1 + len(known) / often[f]) for f in shared)
        if shared:
            scored.append((-score, name, shared[:4]))
    return [(name, shared) for _, name, shared in sorted(scored)[:limit]]
