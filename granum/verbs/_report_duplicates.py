"""Of a report: images that are there twice, and images that are in two splits, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from granum.browse import page
from granum.errors import UnknownNameError
from granum.store.dataset import Dataset
from granum.verbs._report_album import Shot
from granum.verbs._report_asked import Asked, plain

__all__ = ["duplicates"]

_GROUPS = 8
_MEMBERS = 4
_VALUES = 12

Group = tuple[str, Sequence[Shot]]


def duplicates(asked: Asked) -> list[str]:
    """Groups of duplicates, and pairs that cross splits; of results, else of saved views."""
    found, crossing = plain(asked.duplicates), plain(asked.leakage)
    blocks = _duplicates(asked, found) if found else _from_views(asked, "duplicates")
    if crossing:
        return blocks + _leaks(asked, crossing)
    return blocks + _from_views(asked, "leakage")


def _shot(asked: Asked, key: str, caption: str, other: Dataset | None = None) -> Iterator[Shot]:
    """The sample of a key; none where it is no longer there."""
    dataset = other or asked.dataset
    try:
        view = dataset[key]
    except UnknownNameError:
        return
    yield partial(asked.album.image, view), f"{caption}\n{key}"


def _cards(asked: Asked, groups: Sequence[Group]) -> list[str]:
    before = len(asked.album.missed)
    shown = [(words, asked.album.figures(shots, most=300)) for words, shots in groups]
    shown = [group for group in shown if group[1]]
    return [*([page.cards(shown)] if shown else []), *asked.album.missing_since(before)]


# ----------------------------------------------------------------- duplicates


def _duplicates(asked: Asked, found: Mapping[str, Any]) -> list[str]:
    """Of ``Duplicates.to_dict``."""
    listed: dict[int, list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        listed.setdefault(row["group"], []).append(row)
    gone = [r for r in found["rows"] if not r["kept"]]
    if not gone:
        return [page.text("No duplicates were found.")]
    counts = Counter(r["kind"] for r in gone)
    numbers = [("duplicates", len(gone)), ("groups", len(listed)), *counts.most_common()]
    groups = [_group(asked, rows) for rows in list(listed.values())[: _most(asked)]]
    return [page.heading("Duplicates"), page.figures(numbers), *_cards(asked, groups)]


def _most(asked: Asked) -> int:
    return min(_GROUPS, asked.pictures)


def _group(asked: Asked, rows: Sequence[Mapping[str, Any]]) -> Group:
    shots = []
    for row in rows[:_MEMBERS]:
        bits = "" if row.get("distance") is None else f", {row['distance']} bits"
        words = "kept" if row["kept"] else f"{row['kind']}{bits}"
        shots += list(_shot(asked, row["key"], words))
    return f"{len(rows)} of one image", shots


# ---------------------------------------------------------------------- leaks


def _leaks(asked: Asked, found: Mapping[str, Any]) -> list[str]:
    """Of ``Leakage.to_dict``."""
    other = getattr(asked.leakage, "other", None)
    columns = ["split", "samples", "leaked", "grouped", "share"]
    rows = [
        [name, *(s.get(c) for c in columns[1:-1]), f"{s.get('share') or 0:.1%}"]
        for name, s in found["splits"].items()
    ]
    blocks = [page.heading("Leaks between splits"), page.table(rows, columns)]
    if found["shared"]:
        listed = [[s[c] for c in ("column", "value", "split", "samples")] for s in found["shared"]]
        blocks += [page.table(listed[:_VALUES], ["shared", "value", "split", "samples"])]
    differ = sum(pair.get("agree") is False for pair in found["crossing"])
    if differ:
        pairs_ = "1 pair" if differ == 1 else f"{differ:,} pairs"
        blocks.append(page.text(f"In {pairs_} the categories differ."))
    # Pairs whose categories differ first: they tell most.
    pairs = sorted(found["crossing"], key=lambda p: p.get("agree") is not False)
    groups: list[Group] = []
    for pair in pairs[: _most(asked)]:
        shots = [
            *_shot(asked, pair["key"], str(pair["split"])),
            *_shot(asked, pair["other_key"], str(pair["other_split"]), other),
        ]
        words = pair["kind"] + (", categories differ" if pair.get("agree") is False else "")
        groups.append((words, shots))
    return blocks + _cards(asked, groups)


# ---------------------------------------------------------------------- views


def _from_views(asked: Asked, operation: str) -> list[str]:
    """What saved views recorded that they dropped: ``KIND duplicate of KEY in SPLIT``."""
    store = asked.dataset.meta.store
    views = {} if store is None else store.manifest["views"]
    for name, view in views.items():
        lineage = view.get("lineage") or {}
        if lineage.get("operation") != operation or not lineage.get("dropped"):
            continue
        dropped: Mapping[str, str] = lineage["dropped"]
        groups: list[Group] = []
        for key, why in list(dropped.items())[: _most(asked)]:
            of = why.partition("duplicate of ")[2]
            if operation == "leakage":
                of = of.rpartition(" in ")[0]
            shots = [*_shot(asked, of, "kept"), *_shot(asked, key, "dropped")]
            groups.append((why.partition(" of ")[0], shots))
        title = "Duplicates" if operation == "duplicates" else "Leaks between splits"
        words = f"View {name!r} leaves out {len(dropped):,} of {lineage.get('n_in', 0):,} samples."
        return [page.heading(title), page.text(words), *_cards(asked, groups)]
    return []
