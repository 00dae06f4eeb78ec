"""ICDAR robust reading: words in scenes, words cut out, and characters by pixel.

::

    train/images/img_1.png   train/gt_img_1.txt     localisation: 0,0,3,1,4,6,1,7,FOOD
    train/images/word_1.png  train/gt.txt           recognition:  word_1.png, "PROPER"
    train/images/1.png       train/1_GT.txt         segmentation: 82 174 214 1 3 0 2 1 4 "T"
                             train/1_GT.bmp

The texts may also lie in another folder than the images, as in the official downloads; then names
decide. Localisation has one word a line: four corners (a polygon), or left, top, right, bottom
(a box, width = right - left), with commas or spaces, then the text; ``###`` is a word nobody need
read, ``ignore``. Recognition gives an image its one text, a caption. Segmentation has one
character a line: its colour in the bitmap, centre, left, top, right, bottom; a blank line ends a
word (attribute ``word``, from 0) and ``#`` before a line means ``ignore``. In quotes, a backslash
comes before quotes and backslashes. A folder that is a split is the split. The scripts of MLT (a
word before the text) stay with the text. Coordinates are pixels from the top-left corner.

Spec: https://rrc.cvc.uab.es/?ch=2&com=tasks
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import Tree
from granum.loaders._paths import folders_in, names_in, split_suffix
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Icdar"]

NUMBER = r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*"
BETWEEN = r"(?:,|(?<=\s))"
WORDS = tuple(
    re.compile(BETWEEN.join([NUMBER] * n) + rf"(?:{BETWEEN}\s*(.*))?$", re.DOTALL) for n in (8, 4)
)
CAPTION = re.compile(r"\s*([^,\"]+\.\w{3,4})\s*,\s*(.*)$")
CHARACTER = re.compile(r"\s*(#?)\s*" + r"(\d{1,3})\s+" * 3 + r"(-?\d{1,9})\s+" * 6 + r"(.*)$")
DO_NOT_CARE = "###"


@formats("icdar")
class Icdar(Format):
    """Reads the trees of the three tasks."""

    name = "icdar"
    title = "ICDAR robust reading"
    spec = "https://rrc.cvc.uab.es/?ch=2&com=tasks"
    keeps = frozenset(
        {
            *("sample", "object", "caption", "category", "bbox", "mask", "text", "ignore"),
            *("attributes", "split"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for folder in ("", *(f"{f}/" for f in folders_in(root, 100)[:6])):
            for name in names_in(root / folder, 200):
                if _task(name) is not None:
                    return f"{folder}{name} has rows of it" if _fits(root / folder / name) else None
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all texts of a tree.

        Raises:
            FormatError: there is none.
        """
        tree = Tree.of(root)
        texts = [n for n in tree.others if _task(n) is not None]
        if not texts:
            raise FormatError(root, "no gt.txt, gt_….txt or …_GT.txt")
        intake.media_root, intake.map_root = intake.images or root, root
        intake.source(".", self.name)
        images = _Images([n for n in tree.images if not split_suffix(n)[0].endswith("_GT")])
        for where in texts:
            lines = read_text(root / where, where).splitlines()
            folder, _, name = where.rpartition("/")
            if name == "gt.txt":
                yield from _captions(lines, where, images, intake)
                continue
            is_word = _task(name) == "word"
            stem = name[3:-4] if is_word else name[: -len("_GT.txt")]
            sample = images.sample(folder, stem)
            if is_word:
                _words(lines, where, sample, intake)
            else:
                _characters(lines, where, sample, intake)
            yield sample
        yield from (_sample(n) for n in images.names if n not in images.used)


def _task(path: str) -> str | None:
    """What a text of this name holds."""
    name = path.rpartition("/")[2]
    if name == "gt.txt":
        return "caption"
    if name.startswith("gt_") and name.endswith(".txt"):
        return "word"
    return "character" if name.endswith("_GT.txt") else None


def _fits(path: Path) -> bool:
    """Whether the first row of a text is one of its task. Never raises."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 12).decode("utf-8-sig", "replace")
    except (OSError, ValueError):
        return False
    line = next((n for n in head.splitlines() if n.strip()), "")
    task = _task(path.name)
    if task == "caption":
        return CAPTION.match(line) is not None
    if task == "character":
        return CHARACTER.match(line) is not None
    found = next((m for p in WORDS if (m := p.match(line))), None)
    return found is not None and bool(found.groups()[-1])


def _sample(key: str) -> rows.Sample:
    split = next((p for p in key.split("/")[:-1] if known_split(p)), None)
    return rows.Sample(key, rows.Media(path=key), split=split)


@dataclass
class _Images:
    """The images of a tree, found by the folder and name of a text."""

    names: list[str]
    used: set[str] = field(default_factory=set)
    by_stem: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.names:
            self.by_stem.setdefault(split_suffix(name.rpartition("/")[2])[0], []).append(name)

    def sample(self, folder: str, stem: str, name: str | None = None) -> rows.Sample:
        """The sample of an image: in the text's folder, its ``images``, or the only one of its
        name."""
        found = self.by_stem.get(stem, [])
        before = f"{folder}/" if folder else ""
        wanted = (f"{before}images/", before)
        at = next((n for w in wanted for n in found if n.rpartition("/")[0] == w[:-1]), None)
        if at is None:
            at = found[0] if len(found) == 1 else f"{before}images/{name or f'{stem}.jpg'}"
        self.used.add(at)
        return _sample(at)


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return text


def _captions(
    lines: list[str], where: str, images: _Images, intake: Intake
) -> Iterator[rows.Sample]:
    folder = where.rpartition("/")[0]
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = CAPTION.match(line)
        if found is None or "/" in found[1]:
            intake.fault("bad-value", where, f"line {n}", f"no name and text: {line!r}")
            continue
        name = found[1].strip()
        sample = images.sample(folder, split_suffix(name)[0], name)
        sample.annotations.append(rows.Annotation("caption", text=_unquoted(found[2])))
        yield sample


def _words(lines: list[str], where: str, sample: rows.Sample, intake: Intake) -> None:
    category = intake.category("text")
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = next((m for p in WORDS if (m := p.match(line))), None)
        if found is None:
            message = f"no four or eight numbers and a text: {line!r}"
            intake.fault("bad-value", where, f"line {n}", message)
            continue
        *numbers, text = found.groups()
        values = [float(v) for v in numbers]
        one = rows.Annotation("object", category)
        if len(values) == 8:
            one.polygons = [[values]]
        else:
            one.bbox = values[0], values[1], values[2] - values[0], values[3] - values[1]
            if one.bbox[2] < 0 or one.bbox[3] < 0:
                intake.fault("negative-box", where, f"line {n}", f"the box is {values}")
                continue
        if text:
            one.text = _unquoted(text)
            one.ignore = True if one.text == DO_NOT_CARE else None
        sample.annotations.append(one)


def _characters(lines: list[str], where: str, sample: rows.Sample, intake: Intake) -> None:
    category = intake.category("character")
    path = where.removesuffix(".txt") + ".bmp"
    word, ended = -1, True
    for n, line in enumerate(lines, 1):
        if not line.strip():
            ended = True
            continue
        word, ended = word + ended, False
        found = CHARACTER.match(line)
        if found is None:
            intake.fault("bad-value", where, f"line {n}", f"no nine numbers and a text: {line!r}")
            continue
        red, green, blue, _, _, left, top, right, bottom = (int(v) for v in found.groups()[1:-1])
        if max(red, green, blue) > 255 or right < left or bottom < top:
            intake.fault("bad-value", where, f"line {n}", f"no colour or no box: {line!r}")
            continue
        sample.annotations.append(
            rows.Annotation(
                "object",
                category,
                bbox=(float(left), float(top), float(right - left), float(bottom - top)),
                map=rows.LabelMap(path, encoding="rgb24", value=red + 256 * green + 65536 * blue),
                text=_unquoted(found[11]),
                ignore=True if found[1] else None,
                attributes={"word": word},
            )
        )
