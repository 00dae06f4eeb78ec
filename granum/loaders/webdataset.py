"""WebDataset: images and what is said of them in shards, which are tar files.

::

    train-000000.tar   train-000001.tar   val-000000.tar        or test/0.tar (CLIP benchmark)
        sub/a.jpg  sub/a.json  sub/a.cls  sub/a.txt             one record: key sub/a
        b.input.jpg  b.target.png  b.json                       two images of one record: a group
    classnames.txt                                              a class a line, 0 first

The key of a member is its path up to the FIRST dot of its name; the rest, in lower case, says what
it is. Only members that follow each other make up a record; what stands apart is another one.

Read: images, embedded in the dataset (a store holds their bytes, one part of it in memory at a
time; ``labels_only`` leaves them out); ``.txt``, ``.text``, ``.caption``: a caption; ``.cls``: the
number of the class; ``.json``: ``width``, ``height``, ``caption(s)`` or ``text``, ``label(s)``,
``objects`` (or ``annotations``): a list of ``bbox`` (x, y, width, height, in pixels from the
top-left corner), ``category``, ``score``, ``iscrowd``, ``segmentation`` (as COCO has it),
``attributes``; other keys become attributes of the sample. Members of other kinds are counted and
passed over; pickles are never opened. A record of several images is a group of as many samples,
each in the role that its suffix names; annotations are the first one's.

Keys of samples are ``<shard>/<member>``; the split is what the name or the folder of a shard tells.

Written: ``<split>-%06d.tar`` in the order of the samples, the same bytes for the same dataset; one
class as ``.cls``, one sentence as ``.txt``, several in the JSON. Dots in names become ``_``, since
the key ends at the first one; ``granum.json`` beside the shards knows the names as they were.

Spec: https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from granum.errors import FormatError, GranumError, UsageError
from granum.loaders._corners import finite
from granum.loaders._image_tree import is_image
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._paths import Names, split_folders, split_suffix, unique_paths
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders._tar import TarWriter
from granum.loaders._web_records import Records, shards, sniff_shards
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.schema.geometry import rle_decode
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import media_path, open_image
from granum.store.out import Out

__all__ = ["WebDataset"]

CLASSES = "classnames.txt"


@formats("webdataset")
class WebDataset(RowFormat):
    """Reads and writes shards."""

    name = "webdataset"
    title = "WebDataset (tar shards)"
    spec = "https://github.com/webdataset/webdataset"
    keeps = frozenset(
        {
            *("sample", "object", "label", "caption", "category", "bbox", "mask", "crowd", "score"),
            *("text", "attributes", "split", "group", "time", "geo"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    ordered = False  # samples of one split come together
    media_is_data = True
    media_inside = True
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        return sniff_shards(root)

    def read(
        self, root: Path, intake: Intake, *, labels_only: bool = False, classes: str = CLASSES
    ) -> Iterator[rows.Sample]:
        """Read a shard, or all of a folder.

        Args:
            root: the file or folder.
            intake: gets categories and faults.
            labels_only: leave the images out.
            classes: a file in the folder, a name of a class a line.

        Raises:
            FormatError: there is no shard.
        """
        notes = read_notes(root, self.name) if root.is_dir() else None
        found = shards(root)
        if not found and notes is None:
            raise FormatError(root, "no tar file")
        intake.media_root = root if root.is_dir() else root.parent
        records = Records(intake, images=not labels_only)
        if notes is not None:
            take_tables(notes, intake)
            records.numbers = [*range(len(notes.categories))]
            records.names = notes.category_rows
            records.noted = notes.by_path
        elif root.is_dir() and (root / classes).is_file():
            records.numbers = _class_names(root / classes, intake)
        for path in found:
            where = path.relative_to(root).as_posix() if path != root else path.name
            intake.source(where, self.name)
            yield from records.read(path, where)
        for place, sample in records.noted.items():
            if place not in records.met:
                intake.fault("file-missing", place, None, f"the record of {sample.key!r} is absent")
                yield sample

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Any:
        if min(options.get("maxcount", 1), options.get("maxsize", 1)) < 1:
            raise UsageError("maxcount and maxsize are 1 at least")
        return None

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Classes and sentences bare; objects with the facts that the JSON has."""
        if sample is None:
            return None
        left = rows.Annotation(
            annotation.kind,
            annotation.category,
            annotation_id=annotation.annotation_id,
            sample=annotation.sample,
        )
        if annotation.kind == "label":
            return None if annotation.category is None else left
        if annotation.kind == "caption":
            left.category, left.text = None, annotation.text
            return None if annotation.text is None else left
        left.crowd, left.attributes = annotation.crowd, annotation.attributes
        if annotation.score is not None and finite([annotation.score]):
            left.score = annotation.score
        if annotation.bbox is not None and finite(annotation.bbox):
            left.bbox = annotation.bbox
        if annotation.polygons and all(
            len(part) == 1 and finite(part[0]) is not None for part in annotation.polygons
        ):
            left.polygons = annotation.polygons
        elif annotation.rle is not None and _plain_rle(annotation.rle):
            left.rle = annotation.rle
        return left

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        sample.extra = None
        return sample

    def rank(self, annotation: rows.Annotation) -> Any:
        return ("object", "caption", "label").index(annotation.kind)

    def write(
        self, dataset: Dataset, out: Out, *, maxcount: int = 10_000, maxsize: int = 1_000_000_000
    ) -> None:
        """Write shards.

        Args:
            dataset: what to write.
            out: where to.
            maxcount: samples in a shard, at most.
            maxsize: bytes of a shard, at which the next one is begun.
        """
        context = self.context(dataset, {"maxcount": maxcount, "maxsize": maxsize})
        listed = dataset.samples(["key", "split"])
        names = _shard_names(list(dict.fromkeys(column(listed, "split").to_pylist())))
        stems = _stems(listed["key"].to_pylist())
        places = []
        with ExitStack() as stack:
            open_shards = {s: _Shards(out, n, maxcount, maxsize) for s, n in names.items()}
            for each in open_shards.values():
                stack.callback(each.close)
            for sample, stem in zip(sample_rows(dataset), stems, strict=True):
                data, suffix = _image(sample, dataset)
                members = {suffix: data, **_members(sample, context)}
                places.append(open_shards[sample.split].add(stem, members))
        if context.names:
            lines = (" ".join(n.splitlines()) for n in context.names)
            out.text(CLASSES, "".join(f"{n}\n" for n in lines))
        write_notes(out, self.name, dataset, places, self.keeps)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        raise UsageError("the images are in the shards")


class _Shards:
    """The shards of a split, written one after the other."""

    def __init__(self, out: Out, name: str, maxcount: int, maxsize: int) -> None:
        self.out, self.name, self.limits = out, name, (maxcount, maxsize)
        self.number, self.count = -1, 0
        self.file: Any = None
        self.tar: TarWriter | None = None

    def add(self, stem: str, members: dict[str, bytes]) -> str:
        """Write a record; returns the place of its first member."""
        if self.tar is None or self.count >= self.limits[0] or self.tar.size >= self.limits[1]:
            self.close()
            self.number, self.count = self.number + 1, 0
            self.file = self.out.open(f"{self.name}-{self.number:06d}.tar")
            self.tar = TarWriter(self.file)
        for suffix, data in members.items():
            self.tar.add(f"{stem}.{suffix}", data)
        self.count += 1
        return f"{self.name}-{self.number:06d}.tar/{stem}.{next(iter(members))}"

    def close(self) -> None:
        if self.tar is not None:
            self.tar.close()
            self.file.close()
            self.tar = None


def _class_names(path: Path, intake: Intake) -> list[int]:
    """The classes that a file lists, as rows of categories."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path.name, f"cannot be read: {error}") from error
    return [
        intake.add_category(rows.Category(line.strip() or str(i), source_id=str(i)))
        for i, line in enumerate(lines)
    ]


def _shard_names(splits: list[str | None]) -> dict[str | None, str]:
    found = split_folders(splits)
    if None in splits:
        name = "samples"
        while name in found.values():
            name += "_"
        found[None] = name
    else:
        del found[None]
    return found


def _stems(keys: list[str]) -> list[str]:
    """A key of a record for each sample: without dots in its name, each one once."""
    names, out = Names(), []
    for path in unique_paths(keys):
        folder, slash, name = split_suffix(path)[0].rpartition("/")
        out.append(names(folder + slash + name.replace(".", "_")))
    return out


def _image(sample: rows.Sample, dataset: Dataset) -> tuple[bytes, str]:
    """The bytes of a sample's image, and the suffix of its member."""
    media = sample.media
    if media is not None and media.bytes is not None:
        data = media.bytes
    elif media is None or media.path is None:
        raise GranumError(f"{sample.key}: the sample has no image to put into a shard")
    else:
        path = media_path(media, dataset.meta.media_root)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(path, f"the image cannot be read: {error}") from error
    for name in (sample.key, (media.path if media else None) or ""):
        if is_image(name):
            return data, split_suffix(name)[1][1:].lower()
    with open_image(data) as image:
        kind = (image.format or "").lower()
    suffix = {"jpeg": "jpg", "tiff": "tif"}.get(kind, kind)
    return data, suffix if is_image(f"a.{suffix}") else "png"


def _plain_rle(rle: rows.Rle) -> bool:
    try:
        rle.counts.decode("ascii")
        return rle.form == "compressed" and rle_decode(rle.size, rle.counts).shape == rle.size
    except ValueError:
        return False


def _members(sample: rows.Sample, context: Context) -> dict[str, bytes]:
    """What stands beside the image, by suffix."""
    by_kind: dict[str, list[rows.Annotation]] = {"object": [], "caption": [], "label": []}
    for one in sample.annotations:
        by_kind[one.kind].append(one)
    record: dict[str, Any] = {"width": sample.width, "height": sample.height}
    record = {k: v for k, v in record.items() if v is not None}
    members: dict[str, bytes] = {}
    texts = [one.text or "" for one in by_kind["caption"]]
    if len(texts) == 1 and not texts[0].endswith(("\n", "\r")):
        members["txt"] = texts[0].encode()
    elif texts:
        record["captions"] = texts
    classes = [one.category for one in by_kind["label"] if one.category is not None]
    if len(classes) == 1:
        members["cls"] = str(classes[0]).encode()
    elif classes:
        record["labels"] = [context.names[c] for c in classes]
    if by_kind["object"]:
        record["objects"] = [_object(one, context) for one in by_kind["object"]]
    if sample.attributes is not None:
        record["attributes"] = sample.attributes
    return {"json": json.dumps(record, ensure_ascii=False).encode(), **members}


def _object(one: rows.Annotation, context: Context) -> dict[str, Any]:
    mask: Any = None
    if one.polygons:
        mask = [part[0] for part in one.polygons]
    elif one.rle is not None:
        mask = {"size": list(one.rle.size), "counts": one.rle.counts.decode("ascii")}
    found = {
        "bbox": None if one.bbox is None else list(one.bbox),
        "category": None if one.category is None else context.names[one.category],
        "score": one.score,
        "iscrowd": None if one.crowd is None else int(one.crowd),
        "segmentation": mask,
        "attributes": one.attributes,
    }
    return {k: v for k, v in found.items() if v is not None}
