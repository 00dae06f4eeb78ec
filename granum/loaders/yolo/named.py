"""``labelTxt`` folders of YOLO trees: corners in pixels and the name of the class.

``x1 y1 x2 y2 x3 y3 x4 y4 name difficult`` as in DOTA, with ``data.yaml`` beside (Roboflow's
"YOLOv5 Oriented Bounding Boxes"). Lines of fewer than nine columns are headers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from granum.loaders.base import Intake
from granum.loaders.yolo.layout import Items
from granum.loaders.yolo.parse import NUMBER, clean
from granum.loaders.yolo.read import Classes, read_text
from granum.schema import rows

__all__ = ["has_names", "read_named"]

COLUMNS = 9


def has_names(root: Path, items: Items, look_at: int = 20) -> bool:
    """Whether the first label rows are of this style."""
    listed = (n for n in items.labels if n is not None and "labelTxt" in n.split("/")[:-1])
    for _, name in zip(range(look_at), listed, strict=False):
        for line in clean(read_text(root / name)).split(b"\n"):
            tokens = line.split()
            if len(tokens) >= COLUMNS:
                return not NUMBER.fullmatch(tokens[8])
    return False


def read_named(root: Path, items: Items, classes: Classes, intake: Intake) -> Iterator[rows.Sample]:
    """The samples of a tree whose labels are of this style."""
    by_name = {intake.categories[row].name: row for row in classes.rows.values()}
    for i, key in enumerate(items.keys):
        path, label = items.media[i], items.labels[i]
        sample = rows.Sample(
            key,
            None if path is None else rows.Media(path),
            split=items.splits[i],
            origins=[0],
            ordinal=[i],
        )
        text = b"" if label is None else clean(read_text(root / label))
        for number, line in enumerate(text.decode("utf-8", "replace").split("\n"), 1):
            tokens = line.split()
            if len(tokens) < COLUMNS:
                if tokens and ":" not in tokens[0]:
                    message = f"{len(tokens)} columns; a row has 9 or 10"
                    intake.fault("bad-value", str(label), f"line {number}", message)
                continue
            row = _row(tokens, str(label), number, by_name, intake)
            if row is not None:
                row.origins, row.ordinal = [0], [number - 1]
                sample.annotations.append(row)
        yield sample


def _row(
    tokens: list[str], label: str, number: int, by_name: dict[str, int], intake: Intake
) -> rows.Annotation | None:
    place = f"line {number}"
    for token in tokens[:8]:
        if not NUMBER.fullmatch(token.encode()) or not math.isfinite(float(token)):
            intake.fault("bad-value", label, place, f"{token!r} is no number")
            return None
    flag = tokens[9] if len(tokens) > COLUMNS else None
    if flag not in (None, "0", "1"):
        intake.fault("bad-value", label, place, f"difficult is {flag!r}, not 0 or 1")
        if intake.on_error != "fix":
            return None
        flag = None
    name = tokens[8]
    if name not in by_name:
        intake.fault("unknown-class", label, place, f"the class {name!r} is not listed")
        if intake.on_error != "fix":
            return None
        by_name[name] = intake.category(name)
    return rows.Annotation(
        category=by_name[name],
        polygons=[[[float(t) for t in tokens[:8]]]],
        shape_kind="rectangle",
        difficult=None if flag is None else flag == "1",
    )
