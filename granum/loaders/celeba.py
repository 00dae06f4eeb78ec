"""CelebA: faces with forty attributes, landmarks, boxes and identities.

::

    Anno/list_attr_celeba.txt               a count, names, then 000001.jpg -1 1 …
    Anno/list_landmarks_celeba.txt          (or list_landmarks_align_celeba.txt)
    Anno/list_bbox_celeba.txt               x_1 y_1 width height
    Anno/identity_CelebA.txt                000001.jpg 2880
    Eval/list_eval_partition.txt            0 train, 1 val, 2 test
    Img/img_celeba/000001.jpg               (or Img/img_align_celeba/…)

Each attribute is a label of space ``attribute``, present (1) or verified absent (-1). The face is
an object with its box and five key points, of class ``face``; its identity is a label of space
``identity``. Files may be absent. Coordinates are pixels from the top-left corner; boxes and the
landmarks of ``list_landmarks_celeba`` are those of the photographs as taken, not of the aligned
ones.

Spec: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["CelebA"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
FILES = {
    "attributes": ("list_attr_celeba.txt",),
    "landmarks": ("list_landmarks_celeba.txt", "list_landmarks_align_celeba.txt"),
    "boxes": ("list_bbox_celeba.txt",),
    "identities": ("identity_CelebA.txt",),
    "splits": ("list_eval_partition.txt",),
}
HEADED = ("attributes", "landmarks", "boxes")


@formats("celeba")
class CelebA(Format):
    """Reads the lists."""

    name = "celeba"
    title = "CelebA"
    spec = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "keypoints", "skeleton", "present"),
            *("split", "space"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        found = [n for n in names_in(root / "Anno") if "celeba" in n.lower()]
        return f"Anno/{found[0]}" if found else None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all lists that are there.

        Raises:
            FormatError: there is none.
        """
        tables = {n: _table(root, n, intake) for n in FILES}
        names = dict.fromkeys(k for table in tables.values() for k in table.values_of)
        if not names:
            raise FormatError(root, "no list of CelebA in Anno")
        intake.media_root = intake.images or root
        folder = next((f for f in folders_in(root / "Img")), "img_celeba")
        face = intake.category("face")
        intake.categories[face].keypoints = list(POINTS)
        listed = [intake.category(n, "attribute") for n in tables["attributes"].header]
        for name in names:
            key = f"Img/{folder}/{name}"
            sample = rows.Sample(key, rows.Media(path=key))
            code, place = tables["splits"].values_of.get(name, ([], ""))
            if code:
                sample.split = SPLITS.get(code[0])
                if sample.split is None:
                    intake.fault("bad-value", tables["splits"].name, place, f"no split {code[0]!r}")
            one = _face(name, tables, face, intake)
            if one is not None:
                sample.annotations.append(one)
            identity, _ = tables["identities"].values_of.get(name, ([], ""))
            if identity:
                row = intake.category(identity[0], "identity")
                sample.annotations.append(rows.Annotation("label", row))
            values, place = tables["attributes"].values_of.get(name, ([], ""))
            for row, value in zip(listed, values, strict=False):
                present = {"1": True, "-1": False}.get(value)
                if present is None:
                    message = f"{value!r} is neither 1 nor -1"
                    intake.fault("bad-value", tables["attributes"].name, place, message)
                    continue
                sample.annotations.append(rows.Annotation("label", row, present=present))
            yield sample


class _Table:
    """A list: its header, and the words and place of each image."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.header: list[str] = []
        self.values_of: dict[str, tuple[list[str], str]] = {}


def _table(root: Path, kind: str, intake: Intake) -> _Table:
    below = "Eval" if kind == "splits" else "Anno"
    name = next((n for n in FILES[kind] if is_file(root / below / n)), None)
    table = _Table(f"{below}/{name}")
    if name is None:
        return table
    lines = read_text(root / below / name, table.name).splitlines()
    intake.source(table.name, CelebA.name)
    begin = 0
    if kind in HEADED:
        if len(lines) < 2 or not lines[0].strip().isdecimal():
            raise FormatError(table.name, "no count and names before the rows", "line 1")
        table.header, begin = lines[1].split(), 2
    width = {"landmarks": 10, "boxes": 4, "identities": 1, "splits": 1}.get(kind, len(table.header))
    if kind == "boxes":
        table.header = table.header[-4:]
    for number, line in enumerate(lines[begin:], begin + 1):
        if not line.strip():
            continue
        image, *words = line.split()
        if len(words) != width:
            message = f"{len(words)} values instead of {width}"
            intake.fault("bad-value", table.name, f"line {number}", message)
        elif image in table.values_of:
            intake.fault("duplicate-row", table.name, f"line {number}", f"{image} is there twice")
        else:
            table.values_of[image] = words, f"line {number}"
    return table


def _face(
    name: str, tables: dict[str, _Table], category: int, intake: Intake
) -> rows.Annotation | None:
    """The face of an image from its box and landmarks; None where neither is told."""
    one = rows.Annotation("object", category)
    for kind in ("boxes", "landmarks"):
        words, place = tables[kind].values_of.get(name, ([], ""))
        if not words:
            continue
        if not all(w.lstrip("-").isdecimal() and len(w) < 9 for w in words):
            intake.fault("bad-value", tables[kind].name, place, f"no whole numbers: {words}")
            continue
        values = [float(w) for w in words]
        if kind == "boxes":
            one.bbox = (values[0], values[1], values[2], values[3])
        else:
            one.keypoints = [v for i in range(0, 10, 2) for v in (*values[i : i + 2], 2.0)]
    return one if one.bbox is not None or one.keypoints is not None else None
