"""COCO-Stuff: every pixel of COCO's images is one of 171 things and kinds of stuff.

::

    stuffthingmaps_trainval2017/{train,val}2017/000000000139.png     164k; also annotations/…,
    labels.txt                                                       or train2017 beside labels.txt
    images/{train,val}2017/000000000139.jpg
    annotations/COCO_train2014_000000000077.mat                      10k (1.1, and 1.0)
    imageLists/{train,test,all}.txt, images/COCO_train2014_000000000077.jpg

An image has one object without a category, whose label map is the whole image: its values are the
``source_id`` of categories. There are three numberings, and no value is ever changed:

============= ========== ================================ =====================================
file          unlabelled values                           ``source_id`` of a category
============= ========== ================================ =====================================
164k PNG      255        id - 1: 0 to 181                 id - 1, as in the PNG
10k .mat, 1.1 0          id: 1 to 182                     id
10k .mat, 1.0 1          2 to 81 things, 82 to 172 stuff  place in the file's ``names``, from 1
============= ========== ================================ =====================================

The id, as ``labels.txt`` and COCO's JSON files have it, is the attribute ``id`` of every category
(``person`` is 1: value 0 in a PNG). Eleven of the 182 labels are never used; ``used`` says so. What
is unlabelled has no category. Which release a .mat file is of is told by its ``names``: 172 in 1.0.

PNGs stay files and are not opened (``check_masks`` opens them); maps of .mat files, which scipy
reads (``pip install granum[eval]``), are embedded as PNGs of the same values. ``captions`` become
captions; the regions that annotators painted (``regionMapStuff``, ``regionLabelsStuff``) are not
read. The set with all things as one class (``stuff_train2017.json``) is plain COCO.

Spec: https://github.com/nightrome/cocostuff
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._coco_stuff_labels import ABSENT, NAMES, THINGS
from granum.loaders._coco_stuff_mat import Release, mat_files, read_mats
from granum.loaders._columns import constant, single
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.loaders.reading import ImageFinder
from granum.schema import rows, tables
from granum.store.builder import Incoming
from granum.store.media import image_size, open_image

__all__ = ["CocoStuff"]

LABELS = "labels.txt"
MAPS = "stuffthingmaps"
BATCH = 8192
_MANY = 10**8
_NAME = re.compile(r"\d{12}\.png")
_SPLITS = ("train2017", "val2017", "test2017")
_UNLABELLED = 255


@formats("coco_stuff")
class CocoStuff(Format):
    """See the module."""

    name = "coco_stuff"
    title = "COCO-Stuff (164k PNG, 10k .mat)"
    spec = "https://github.com/nightrome/cocostuff"
    keeps = frozenset({"object", "caption", "mask", "text", "split", "isthing", "attributes"})
    extra = "eval"
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        try:
            if found := map_folders(root, sure=True):
                return f"{found[0].path}/…png: maps of labels by numbers of COCO images"
            if mats := mat_files(root, 50):
                return f"annotations/{mats[0]}: a map of labels"
        except (OSError, ValueError):
            pass
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        release: Release = "auto",
        check_masks: bool = False,
    ) -> Iterator[Incoming | rows.Sample]:
        """Read a folder.

        Args:
            root: of the tree; or the folder of maps itself.
            intake: findings and tables.
            release: of .mat files, where their ``names`` do not tell it.
            check_masks: open each PNG: is it of one channel, of labels, as large as its image?

        Raises:
            FormatError: there are no maps, or a .mat file cannot be read.
            MissingExtraError: .mat files without scipy.
        """
        if not root.is_dir():
            raise FormatError(root, "a dataset of this format is a folder")
        intake.media_root = intake.images or root
        intake.map_root = root
        if folders := map_folders(root):
            names = read_labels(root, intake)
            for id_, name in names.items():
                intake.add_category(category(name, id_, id_ - 1))
            for folder in folders:
                yield from read_pngs(root, folder, intake, check_masks)
        elif mats := mat_files(root, _MANY):
            yield from read_mats(root, mats, intake, release)
        else:
            raise FormatError(root, "neither folders of maps (train2017, val2017) nor .mat files")


def category(name: str, id_: int, value: int) -> rows.Category:
    """A label: its value in maps, and what else is known of it."""
    attributes = {"id": id_, "used": id_ not in ABSENT}
    return rows.Category(name, source_id=str(value), isthing=id_ <= THINGS, attributes=attributes)


# ------------------------------------------------------------------- 164k: PNGs


@dataclass(frozen=True)
class Folder:
    """A folder of maps: its path below the root, and its split."""

    path: str
    split: str


def map_folders(root: Path, *, sure: bool = False) -> list[Folder]:
    """Folders of maps, named like splits; ``sure``: only where nothing else looks so."""
    below = [n for n in folders_in(root, 200) if n.startswith(MAPS)]
    own = not sure or root.name.startswith(MAPS) or _has_labels(root)
    for base in (*below, "annotations", *([""] if own else [])):
        paths = [(f"{base}/{s}".strip("/"), s) for s in _SPLITS]
        if found := [Folder(p, s) for p, s in paths if _has_maps(root / p)]:
            return found
    return []


def _has_maps(folder: Path) -> bool:
    """Whether the first files are PNGs of one channel, named by numbers."""
    names = names_in(folder, 20)
    if not names or not all(map(_NAME.fullmatch, names)):
        return False
    with (folder / names[0]).open("rb") as file:
        head = file.read(26)
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[24:25] == b"\x08" and head[25] in (0, 3)


def _has_labels(root: Path) -> bool:
    try:
        with (root / LABELS).open("rb") as file:
            return file.read(100).lstrip().startswith(b"0: unlabeled")
    except OSError:
        return False


def read_labels(root: Path, intake: Intake) -> dict[int, str]:
    """Names by id: of ``labels.txt`` where there is one, else the official ones."""
    path = next((p for p in (root / LABELS, root.parent / LABELS) if p.is_file()), None)
    if path is None:
        return dict(NAMES)
    out: dict[int, str] = {}
    for number, line in enumerate(read_text(path, path).splitlines(), 1):
        id_, colon, name = line.partition(":")
        if not line.strip():
            continue
        if not colon or not id_.strip().isdecimal() or len(id_) > 6 or not name.strip():
            intake.fault("bad-value", LABELS, f"line {number}", f"no id and name: {line!r}")
        elif int(id_) in out:
            intake.fault("duplicate-category-id", LABELS, f"line {number}", f"id {id_} is taken")
        elif int(id_):
            out[int(id_)] = name.strip()
    return out


def read_pngs(root: Path, folder: Folder, intake: Intake, check_masks: bool) -> Iterator[Incoming]:
    """The images of one folder, as columns."""
    source = intake.source(folder.path, CocoStuff.name)
    prefix = _prefix(root, folder)
    names = []
    for name in names_in(root / folder.path, _MANY):
        if _NAME.fullmatch(name):
            names.append(name)
        else:
            intake.fault("file-not-read", f"{folder.path}/{name}", None, "no map of a COCO image")
    finder = None if intake.images is None else ImageFinder(intake.images)
    known = {int(c.source_id or -1) for c in intake.categories}
    for start in range(0, len(names), BATCH):
        at = names[start : start + BATCH]
        photos = [f"{prefix}{name[:-4]}.jpg" for name in at]
        places = list(photos)
        if finder is not None:
            places = [finder.find(f"{n[:-4]}.jpg") or p for n, p in zip(at, photos, strict=True)]
        for name, place in zip(at, places, strict=True) if check_masks else ():
            _check(root, f"{folder.path}/{name}", place, known, intake)
        yield _batch(at, folder, photos, places, source, start)


def _prefix(root: Path, folder: Folder) -> str:
    """The folder of a split's images; that of the maps is none."""
    for place in (f"images/{folder.split}", folder.split, "images"):
        if place != folder.path and any(map(is_image, names_in(root / place, 20))):
            return f"{place}/"
    return f"{folder.split}/"


def _batch(
    names: Sequence[str],
    folder: Folder,
    photos: Sequence[str],
    places: Sequence[str],
    source: int,
    start: int,
) -> Incoming:
    n = len(names)

    def struct(kind: pa.DataType, **filled: pa.Array) -> pa.Array:
        arrays = [
            filled[f.name].cast(f.type) if f.name in filled else pa.nulls(n, f.type) for f in kind
        ]
        return pa.StructArray.from_arrays(arrays, fields=list(kind))

    record = {
        "origins": single(np.full(n, source), pa.int16()),
        "ordinal": single(np.arange(start, start + n), pa.int64()),
    }
    samples = {
        "key": pa.array(photos, pa.string()),
        "source_id": pa.array([str(int(name[:-4])) for name in names], pa.string()),
        "media": struct(tables.SAMPLES.field("media").type, path=pa.array(places, pa.string())),
        "media_kind": constant("image", n),
        "unit": constant("pixel", n),
        "split": constant(folder.split, n),
        **record,
    }
    maps = struct(
        tables.ANNOTATIONS.field("map").type,
        path=pa.array([f"{folder.path}/{name}" for name in names], pa.string()),
        encoding=constant("index", n),
        space=constant("object", n),
    )
    objects = {
        "sample": pa.array(np.arange(n), pa.int64()),
        "kind": constant("object", n),
        "map": maps,
        **record,
    }
    return Incoming(
        tables.conform(pa.table(samples), tables.SAMPLES),
        {tables.DEFAULT_LAYER: tables.conform(pa.table(objects), tables.ANNOTATIONS)},
    )


def _check(root: Path, path: str, photo: str, known: set[int], intake: Intake) -> None:
    """Open a map, and tell what is wrong with it."""
    try:
        with open_image(root / path) as image:
            mode, size = image.mode, image.size
            values = np.unique(np.asarray(image)) if mode in ("L", "P") else None
    except (OSError, SyntaxError, ValueError) as error:
        intake.fault("broken-media", path, None, f"does not decode: {error}")
        return
    if values is None:
        intake.fault("bad-value", path, None, f"a PNG of mode {mode}, not of one channel")
        return
    for value in values.tolist():
        if value not in known and value != _UNLABELLED:
            intake.fault("unknown-class", path, None, f"no label has the value {value}")
    there = (intake.media_root or root) / photo
    if there.is_file() and (other := image_size(there)) != size:
        text = f"{size[0]} x {size[1]} pixels; {photo} has {other[0]} x {other[1]}"
        intake.fault("mask-size-mismatch", path, None, text)
