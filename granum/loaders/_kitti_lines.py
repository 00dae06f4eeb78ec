"""Lines of KITTI's label texts, to annotations and back; and its classes.

A line is ``type truncated occluded alpha left top right bottom height width length x y z
rotation_y`` and, in results, ``score``. What it states by -1, -10 or -1000 is absent here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from granum.loaders._paths import Names
from granum.loaders._rows import box_of, cornered, corners_of
from granum.loaders._sequences import boxed
from granum.loaders.base import Intake
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = [
    "IGNORED",
    "LABELS",
    "Categories",
    "annotation_of",
    "class_words",
    "kept",
    "says_ignore",
    "words_of",
]

IGNORED, NOTHING = "DontCare", "none"
"""What stands for a class in regions that are ignored, and (ours) in rows without one."""

_NAMES = (
    "unlabeled,ego vehicle,rectification border,out of roi,static,dynamic,ground,road,sidewalk,"
    "parking,rail track,building,wall,fence,guard rail,bridge,tunnel,pole,polegroup,traffic light,"
    "traffic sign,vegetation,terrain,sky,person,rider,car,truck,bus,caravan,trailer,train,"
    "motorcycle,bicycle"
)
LABELS = {i: (name, i >= 24) for i, name in enumerate(_NAMES.split(","))}
"""Name of each class of label images, and whether its instances are told apart."""

_DIMENSIONS, _LOCATION, _ROTATION, _ALPHA = -1.0, -1000.0, -10.0, -10.0


class Categories:
    """Rows of classes by the words of texts.

    Args:
        intake: gets classes that are new.
        words: of the categories that it has, in our own trees.
        ignore: lines with a class are of rows that say that they are not ignored.
    """

    def __init__(
        self, intake: Intake, words: Sequence[str] | None = None, ignore: bool = False
    ) -> None:
        self.intake, self.ignore = intake, ignore
        self.rows: dict[str, int | None] = {w: i for i, w in enumerate(words or ())}
        if words is not None:
            self.rows[NOTHING] = None

    def __getitem__(self, word: str) -> int | None:
        if word not in self.rows:
            self.rows[word] = self.intake.category(word)
        return self.rows[word]


def annotation_of(words: Sequence[str], categories: Categories) -> rows.Annotation:
    """The annotation of a line's words, 15 or 16, of which the first is a class.

    Raises:
        ValueError: they are no such line; says why.
    """
    if len(words) not in (15, 16):
        raise ValueError(f"{len(words)} words where 15 or 16 belong")
    numbers = [float(w) for w in words[1:]]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number that is none")
    truncated, occluded, alpha, left, top, right, bottom = numbers[:7]
    out = rows.Annotation("object", bbox=box_of((left, top, right, bottom)))
    if words[0] == IGNORED:
        out.ignore = True
    else:
        out.category = categories[words[0]]
        out.ignore = False if categories.ignore else None
    attributes: dict[str, Any] = {}
    if occluded != int(occluded):
        raise ValueError(f"occluded is {words[2]}, no whole number")
    match int(occluded):
        case -1:
            pass
        case 0 | 1:
            out.occluded = occluded == 1
        case state:
            out.occluded = None if state == 3 else True
            attributes["occlusion"] = state
    if truncated in (0, 1):
        out.truncated = truncated == 1
    elif truncated != -1:
        out.truncated, attributes["truncation"] = True, truncated
    height, width, length, x, y, z, rotation = numbers[7:14]
    solid = [height, width, length] != [_DIMENSIONS] * 3
    if solid:
        out.box3d = (x, y, z, length, height, width, 0.0, rotation, 0.0)
    # Texts of boxes alone have -1 throughout, which is no angle then.
    if alpha != _ALPHA and {alpha, *numbers[7:14]} != {-1.0}:
        attributes["alpha"] = alpha
    out.attributes = attributes or None
    out.score = numbers[14] if len(numbers) == 15 else None
    return out


def says_ignore(dataset: Dataset) -> bool:
    """Whether every row says whether it is ignored: those with a class then say that they are
    not."""
    columns = [column(boxed(b.annotations), "ignore") for b in dataset.iter_batches()]
    return not any(c.null_count for c in columns)


def kept(annotation: rows.Annotation, says: bool) -> rows.Annotation | None:
    """What a line gives back of an annotation, in a dataset of which ``says_ignore``; None where it
    has no box."""
    box = None if annotation.bbox is None else cornered(annotation.bbox)
    if annotation.kind != "object" or box is None or not all(map(math.isfinite, box)):
        return None
    out = rows.Annotation(
        "object",
        bbox=box,
        annotation_id=annotation.annotation_id,
        sample=annotation.sample,
        truncated=annotation.truncated,
        occluded=annotation.occluded,
    )
    if annotation.ignore:
        out.ignore = True
    else:
        out.category = annotation.category
        out.ignore = False if says else None
    if annotation.score is not None and math.isfinite(annotation.score):
        out.score = annotation.score
    given = annotation.attributes or {}
    attributes: dict[str, Any] = {}
    state, share, alpha = (given.get(n) for n in ("occlusion", "truncation", "alpha"))
    whole = type(state) is int and state not in (-1, 0, 1) and abs(state) < 1 << 31
    if whole and out.occluded is (None if state == 3 else True):
        attributes["occlusion"] = state
    if _plain(share) and share not in (-1.0, 0.0, 1.0) and out.truncated is True:
        attributes["truncation"] = share
    if _plain(alpha) and alpha != _ALPHA:
        attributes["alpha"] = alpha
    out.attributes = attributes or None
    solid = annotation.box3d
    if solid is not None and all(map(math.isfinite, solid)):
        upright = not solid[6] and not solid[8]
        if upright and tuple(solid[3:6]) != (_DIMENSIONS,) * 3:
            out.box3d = (*solid[:6], 0.0, solid[7], 0.0)
    return out


def _plain(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def class_words(categories: Sequence[rows.Category]) -> list[str]:
    """A word for each category, no two the same."""
    names = Names([IGNORED, NOTHING])
    return [names("_".join(c.name.replace("/", "_").split()) or "_") for c in categories]


def words_of(
    annotation: rows.Annotation, words: Sequence[str], digits: int, states: bool
) -> list[str]:
    """The words of an annotation that ``kept`` went over.

    Args:
        annotation: the annotation.
        words: for each category.
        digits: behind the point, where these tell the number exactly.
        states: truncation is a whole number where it can be.
    """

    def text(value: float) -> str:
        short = f"{value:.{digits}f}"
        return short if float(short) == value else repr(float(value))

    if annotation.ignore:
        word = IGNORED
    else:
        word = NOTHING if annotation.category is None else words[annotation.category]
    attributes = annotation.attributes or {}
    flags = [-1 if f is None else int(f) for f in (annotation.truncated, annotation.occluded)]
    share = attributes.get("truncation", flags[0])
    assert annotation.bbox is not None
    numbers = list(corners_of(annotation.bbox))
    if annotation.box3d is None:
        numbers += [_DIMENSIONS] * 3 + [_LOCATION] * 3 + [_ROTATION]
    else:
        x, y, z, long, high, wide, _, rotation, _ = annotation.box3d
        numbers += [high, wide, long, x, y, z, rotation]
    state = attributes.get("occlusion", flags[1])
    numbers = [attributes.get("alpha", _ALPHA), *numbers]
    if annotation.score is not None:
        numbers.append(annotation.score)
    bare = share == -1 or (states and share == int(share))
    first = str(int(share)) if bare else text(share)
    return [word, first, str(state), *map(text, numbers)]
