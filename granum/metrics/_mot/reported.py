"""Numbers of tracking as they are published: means over thresholds, None where undefined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from granum.metrics._mot.numbers import (
    ALPHAS,
    CLEAR_COUNTS,
    CLEAR_SCORES,
    HOTA_COUNTS,
    HOTA_LOWEST,
    HOTA_SCORES,
    ID_COUNTS,
    ID_SCORES,
    VACE_SCORES,
    Numbers,
    class_averaged,
    combined,
    nothing,
    stacked,
)

__all__ = ["COUNTS", "SCORES", "averaged", "curve", "reported", "table_of", "together"]

SCORES = (*HOTA_SCORES, *HOTA_LOWEST, *CLEAR_SCORES, *ID_SCORES, *VACE_SCORES)
COUNTS = (*CLEAR_COUNTS, *ID_COUNTS)

_NEEDS = {
    "boxes": ("HOTA", "DetA", "HOTA(0)", "CLR_F1", "IDF1"),
    "truth": ("DetRe", "OWTA", "MOTA", "MODA", "sMOTA", "MOTAL", "CLR_Re", "IDR"),
    "predictions": ("DetPr", "CLR_Pr", "IDP"),
    "tracks": ("MTR", "PTR", "MLR"),
    "overlaps": ("AssA", "AssRe", "AssPr", "LocA", "LocA(0)", "HOTALocA(0)"),
    "matches": ("MOTP",),
    "frames": ("FP_per_frame",),
    "ids": ("ATA",),
    "filled": ("SFDA",),
}
_NEED = {name: need for need, names in _NEEDS.items() for name in names}


def reported(n: Numbers, corrected: bool) -> dict[str, float | None]:
    """The numbers of some sequences by name; None where the denominator is 0.

    Args:
        n: complete, of all metrics.
        corrected: LocA is averaged over the thresholds that a match reaches.
    """
    tp, fn, fp = (int(n[name]) for name in ("CLR_TP", "CLR_FN", "CLR_FP"))
    there = {
        "boxes": tp + fn + fp,
        "truth": tp + fn,
        "predictions": tp + fp,
        "tracks": int(n["MT"] + n["PT"] + n["ML"]),
        "overlaps": int(n["HOTA_TP"][0]),
        "matches": tp,
        "frames": int(n["CLR_Frames"]),
        "ids": int(n["VACE_IDs"] + n["VACE_GT_IDs"]),
        "filled": int(n["num_non_empty_timesteps"]),
    }
    out: dict[str, float | None] = {
        name: float(np.mean(n[name])) if there[_NEED[name]] else None for name in SCORES
    }
    if corrected and there["overlaps"]:
        out["LocA"] = float(np.mean(n["LocA"][n["HOTA_TP"] > 0]))
    return out | {name: int(n[name]) for name in COUNTS}


def averaged(classes: Sequence[Numbers], corrected: bool) -> dict[str, float | None]:
    """Means over classes that have a box, under names that end in ``_cls_av``."""
    if corrected:
        listed = [reported(n, corrected) for n in classes]
        known = {s: [v for n in listed if (v := n[s]) is not None] for s in SCORES}
        means = {s: float(np.mean(values)) if values else None for s, values in known.items()}
    elif classes:
        means = reported(class_averaged(stacked(classes)), corrected)
    else:
        means = dict.fromkeys(SCORES)
    return {f"{name}_cls_av": means[name] for name in SCORES}


def together(classes: Sequence[Numbers], frames: int | None) -> Numbers:
    """Numbers of all classes, averaged over boxes; of one class they are its own.

    ``frames``: how many there are, where they are not counted class by class.
    """
    if len(classes) == 1:
        return classes[0]
    if classes:
        return combined(stacked(classes), frames=frames)
    return nothing() | ({} if frames is None else {"CLR_Frames": np.asarray(frames)})


def curve(n: Numbers) -> pa.Table:
    """Numbers of HOTA and counts, a row per threshold."""
    return pa.table({"alpha": ALPHAS} | {name: n[name] for name in (*HOTA_SCORES, *HOTA_COUNTS)})


def table_of(
    name: str, keys: Sequence[str | None], numbers: Sequence[Mapping[str, float | None]]
) -> pa.Table:
    """A row per key, a column per number."""
    columns = {name: pa.array(keys, pa.string())}
    for names, kind in ((SCORES, pa.float64()), (COUNTS, pa.int64())):
        columns |= {c: pa.array([n[c] for n in numbers], kind) for c in names}
    return pa.table(columns)
