"""WIDER FACE: faces with six facts about each.

::

    WIDER_train/images/0--Parade/0_Parade_marchingband_1_849.jpg
    WIDER_val/images/…
    wider_face_split/wider_face_train_bbx_gt.txt
    wider_face_split/wider_face_val_bbx_gt.txt

The text has, for each image, its path, the number of faces, and a line for each: ``x y w h blur
expression illumination invalid occlusion pose``, in pixels from the top-left corner. An image
without faces has the number 0 and, in the official files, a line of zeros all the same, which is
passed over. ``invalid`` faces are ``ignore``; ``occlusion`` 0 is not occluded, 1 and 2 partly and
heavily; all six numbers are attributes. The folder names the event, which is a label of space
``scene``. Images without a line in the text have no faces listed (the test set).

Spec: http://shuoyang1213.me/WIDERFACE/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["WiderFace"]

LISTS = "wider_face_split"
FACTS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


@formats("widerface")
class WiderFace(Format):
    """Reads the official trees."""

    name = "widerface"
    title = "WIDER FACE"
    spec = "http://shuoyang1213.me/WIDERFACE/"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "attributes", "occluded"),
            *("ignore", "split", "space"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        lists = [n for n in names_in(root / LISTS) if n.endswith("_bbx_gt.txt")]
        return f"{LISTS}/{lists[0]}" if lists else None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read the lists of all splits.

        Raises:
            FormatError: there is none.
        """
        lists = [n for n in names_in(root / LISTS) if n.endswith("_bbx_gt.txt")]
        if not lists:
            raise FormatError(root, f"no {LISTS}/…_bbx_gt.txt")
        intake.media_root = intake.images or root
        face = intake.category("face")
        listed: set[str] = set()
        for name in sorted(lists):
            split = name.removeprefix("wider_face_").removesuffix("_bbx_gt.txt")
            intake.source(f"{LISTS}/{name}", self.name)
            for sample in _listed(root / LISTS / name, f"{LISTS}/{name}", split, face, intake):
                listed.add(sample.key)
                yield sample
        for folder in folders_in(root):
            if folder.startswith("WIDER_"):
                yield from _others(root, folder, listed, intake)


def _listed(path: Path, where: str, split: str, face: int, intake: Intake) -> Iterator[rows.Sample]:
    """Samples of one list."""
    lines = read_text(path, where).splitlines()
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        at += 1
        if not name:
            continue
        place = f"line {at}"
        if not is_image(name):
            intake.fault("bad-value", where, place, f"{name!r} is no image")
            continue
        sample = _sample(f"WIDER_{split}/images/{name}", split, intake)
        count = lines[at].strip() if at < len(lines) else ""
        if not count.isdecimal():
            intake.fault("bad-value", where, f"line {at + 1}", f"{count!r} is no number of faces")
            yield sample
            continue
        at += 1
        rest = int(count)
        if rest == 0 and at < len(lines) and {*lines[at].split()} == {"0"}:
            at += 1
        for _ in range(rest):
            if at >= len(lines) or is_image(lines[at].strip()):
                message = f"{name} has fewer faces than {count}"
                intake.fault("bad-value", where, f"line {at + 1}", message)
                break
            at += 1
            one = _face(lines[at - 1].split(), face)
            if one is None:
                message = f"no four numbers and six facts: {lines[at - 1]!r}"
                intake.fault("bad-value", where, f"line {at}", message)
            else:
                sample.annotations.append(one)
        yield sample


def _face(words: list[str], category: int) -> rows.Annotation | None:
    try:
        values = [int(w) for w in words]
    except ValueError:
        return None
    if len(values) not in (4, 10) or max(map(abs, values)) >= 2**31:
        return None
    x, y, w, h = values[:4]
    one = rows.Annotation("object", category, bbox=(float(x), float(y), float(w), float(h)))
    if len(values) == 10:
        facts = dict(zip(FACTS, values[4:], strict=True))
        one.attributes = {**facts}
        one.ignore, one.occluded = facts["invalid"] == 1, facts["occlusion"] > 0
    return one


def _sample(key: str, split: str, intake: Intake) -> rows.Sample:
    """A sample with the event that its folder names."""
    event = key.split("/")[2] if key.count("/") > 2 else ""
    number, _, name = event.partition("--")
    labels = []
    if name and number.isdecimal():
        row = intake.category(name, "scene")
        intake.categories[row].source_id = number
        labels.append(rows.Annotation("label", row))
    return rows.Sample(key, rows.Media(path=key), split=split, annotations=labels)


def _others(root: Path, folder: str, listed: set[str], intake: Intake) -> Iterator[rows.Sample]:
    """Images that no list names."""
    split = folder.removeprefix("WIDER_")
    for event in folders_in(root / folder / "images"):
        for name in names_in(root / folder / "images" / event, 10**7):
            key = f"{folder}/images/{event}/{name}"
            if is_image(name) and key not in listed and is_file(root / key):
                if split != "test":
                    intake.fault("unlisted-image", key, None, "no list names this image")
                yield _sample(key, split, intake)
