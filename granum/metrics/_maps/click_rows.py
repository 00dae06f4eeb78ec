"""The objects of a sample, and the IoU of what was predicted after each click on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.metrics._maps.drawn import DrawnSample, OtherSizeError, add_fault, has_mask
from granum.metrics._usable import rows_left_out
from granum.schema.findings import Findings

__all__ = ["Clicked", "clicked"]

Row = dict[str, Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Clicked:
    """An object: its category's row (-1: none), and the IoU after click 1, 2…; NaN where the mask
    after a click is not there, empty where none is."""

    category: int
    ious: tuple[float, ...]


def clicked(
    real: DrawnSample,
    guess: DrawnSample,
    about: Sequence[Mapping[str, Any] | None],
    max_clicks: int,
    found: Findings,
) -> list[Clicked]:
    """The objects of a sample, in the order of the truth's rows.

    Args:
        real: objects with masks; those marked ``ignore`` are pixels that do not count.
        guess: masks after clicks.
        about: the attributes of each of their rows: ``click``, from 1, and ``of``, the truth's
            ``annotation_id`` (a number) or ``source_id`` (a text), which may be absent where there
            is one object.
        max_clicks: masks after more clicks are left out.
        found: gets the faults.
    """
    key = real.key
    rows = [r for r in real.rows if r["kind"] == "object"]
    bare = [r for r in rows if not has_mask(r)]
    rows_left_out(found, "missing-geometry", "truth", key, bare, "without a mask")
    drawn = [r for r in rows if has_mask(r)]
    try:
        void = [real.mask(r) for r in drawn if r["ignore"]]
        masks = [(r, real.mask(r)) for r in drawn if not r["ignore"]]
        if len({m.shape for m in (*void, *(m for _, m in masks))}) > 1:
            raise OtherSizeError(key, "masks of several sizes")
    except FormatError as error:
        add_fault(found, "truth", real, error)
        return []
    counts = ~np.logical_or.reduce(void) if void else None
    objects = {}
    empty = []
    for row, mask in masks:
        wanted = mask if counts is None else mask & counts
        if wanted.any():
            objects[row["annotation_id"]] = row, wanted
        else:
            empty.append(row)
    rows_left_out(found, "empty-mask", "truth", key, empty, "without a pixel that counts")
    answers = _by_object(guess, about, {i: r for i, (r, _) in objects.items()}, max_clicks, found)
    out = []
    for number, (row, wanted) in objects.items():
        try:
            ious = _ious(guess, answers.get(number, {}), wanted, counts)
        except FormatError as error:
            add_fault(found, "predictions", guess, error)
            ious = ()
        missing = sum(np.isnan(ious).tolist())
        if missing:
            message = f"{missing} of the {len(ious)} clicks on annotation {number} have no mask"
            found.add("incomplete-group", "predictions", key, f"{message}: the one before counts")
        out.append(Clicked(-1 if row["category"] is None else row["category"], ious))
    silent = sum(not c.ious for c in out)
    if silent and guess.rows:  # of samples without any prediction it is said before
        message = f"{silent} objects without a mask after any click: they count as failures"
        found.add("no-predictions", "predictions", key, message, silent)
    return out


def _by_object(
    guess: DrawnSample,
    about: Sequence[Mapping[str, Any] | None],
    objects: Mapping[int, Row],
    max_clicks: int,
    found: Findings,
) -> dict[int, dict[int, Row]]:
    """The rows of each object, by click; what belongs to none is a finding."""
    by_source = {r["source_id"]: i for i, r in objects.items() if r["source_id"] is not None}
    lost: dict[tuple[str, str], list[Row]] = {}
    out: dict[int, dict[int, Row]] = {}
    for row, facts in zip(guess.rows, about, strict=True):
        facts = facts or {}
        click, of = facts.get("click"), facts.get("of")
        number: int | None = None
        if isinstance(of, str):
            number = by_source.get(of)
        elif isinstance(of, int | float) and of in objects and not isinstance(of, bool):
            number = int(of)
        elif of is None and len(objects) == 1:
            number = next(iter(objects))
        why: tuple[str, str] | None = None
        if not has_mask(row):
            why = "missing-geometry", "without a mask"
        elif (
            isinstance(click, bool) or not isinstance(click, int | float) or click % 1 or click < 1
        ):
            why = "bad-value", "whose attribute click is no number from 1"
        elif number is None:
            why = "bad-value", "whose attribute of names no object of the truth"
        elif click > max_clicks:
            why = "not-compared", f"after more than {max_clicks} clicks"
        elif int(click) in out.setdefault(number, {}):
            why = "duplicate-annotation", "after a click that another one is after"
        if why is not None:
            lost.setdefault(why, []).append(row)
        elif number is not None and click is not None:
            out[number][int(click)] = row
    for (code, what), rows in lost.items():
        rows_left_out(found, code, "predictions", guess.key, rows, what)
    return out


def _ious(
    guess: DrawnSample, answers: Mapping[int, Row], wanted: Mask, counts: Mask | None
) -> tuple[float, ...]:
    out = [float("nan")] * max(answers, default=0)
    for click, row in answers.items():
        mask = guess.mask(row)
        if mask.shape != wanted.shape:
            message = f"a mask of {mask.shape}, truth of {wanted.shape} (height, width)"
            raise OtherSizeError(guess.key, message)
        if counts is not None:
            mask = mask & counts
        shared, either = (np.count_nonzero(m) for m in (mask & wanted, mask | wanted))
        out[click - 1] = shared / either
    return tuple(out)
