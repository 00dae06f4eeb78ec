"""NEVIS'22: a stream of classification tasks over stores of TFRecord files.

::

    stable/<dataset>/metadata  status            stable/ may be the root itself
                     train/data-00000-of-00010   and dev/, dev_test/, test/, train_and_dev/
    nevis_stream.py                              or stream.json: {"2004": ["mnist", …], "2015": […]}

A record is an Example with ``png_encoded_image`` and ``label``, or ``multi_label``: numbers of
classes. A dataset is a group, its classes are a label space of its name. The images are embedded.
``train_and_dev`` holds what ``train`` and ``dev`` hold, and is read only where one is absent.

The stream says which tasks follow each other: of DeepMind's ``nevis_stream.py``, which is parsed
and never run, the tables of ``variant`` (FULL, SHORT…) and of sources; or a JSON object of years
and names of datasets. Tasks are numbered from 0 in the order of years; a dataset of several tasks
is read once, and says all of them: attributes ``task`` and ``year`` of its samples are the first
one's, ``tasks`` and ``years`` are there where there are more. ``stop_year`` leaves out the tasks
from that year on (the benchmark holds out those from 2020). A task whose dataset is not in the
store, such as those of TFDS, is a finding. Without a stream all datasets are read, by name.

``metadata`` is a pickle in base64. The restricted reader takes plain containers only, and of
DeepMind's own classes the fields, without importing anything; whatever else it names is refused,
with a finding, and classes go by their numbers. The years are when papers used a dataset.

Spec: https://github.com/google-deepmind/dm_nevis
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._nevis_stream import Task, find_stream, read_stream
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._pickles import load_pickle
from granum.loaders._tfrecord import numbers, parse_example, records
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Nevis"]

SPLITS = ("train", "dev", "dev_test", "test", "train_and_dev")
OWN = frozenset({("dm_nevis.datasets_storage.handlers.types", "DatasetMetaData")})
"""Classes of which the fields are taken."""

_SHARD = re.compile(r"data-(\d{5})-of-(\d{5})")
_NAMES = ("label_to_id", "labels", "class_names")
"""Where handlers note the names of classes."""


@formats("nevis")
class Nevis(Format):
    """Reads stores, in the order of a stream."""

    name = "nevis"
    title = "NEVIS'22 (a stream of tasks)"
    spec = "https://github.com/google-deepmind/dm_nevis"
    keeps = frozenset({"sample", "label", "category", "space", "group", "split", "attributes"})

    def sniff(self, root: Path) -> str | None:
        base = _base(root)
        for name in folders_in(base, 50):
            if is_file(base / name / "metadata") and _splits(base / name):
                return f"{name}: metadata and data-00000-of-… of its splits"
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        stream: str | None = None,
        variant: str = "FULL",
        stop_year: int | None = None,
    ) -> Iterator[rows.Sample]:
        """Read the datasets of a stream.

        Args:
            root: the folder of the stores, or the one above ``stable``.
            intake: gets categories, groups and faults.
            stream: the file of the stream; by default one at the root, if any.
            variant: which of its streams.
            stop_year: the first year that is left out.

        Raises:
            FormatError: there is no store, or the stream cannot be read.
        """
        base = _base(root)
        stores = [n for n in folders_in(base, 10_000) if _splits(base / n)]
        if not stores:
            raise FormatError(root, "no store with data-00000-of-… of a split")
        intake.media_root = root
        path = find_stream(root) if stream is None else Path(stream)
        tasks: dict[str, list[Task]] = {n: [] for n in stores}
        if path is not None:
            listed = [
                t for t in read_stream(path, variant) if stop_year is None or t.year < stop_year
            ]
            intake.source(
                path.name, self.name, options={"variant": variant, "stop_year": stop_year}
            )
            tasks = {}
            for task in listed:
                if task.store in stores:
                    tasks.setdefault(task.store, []).append(task)
                else:
                    message = f"task {task.number} ({task.year}): {task.name!r} is not in the store"
                    intake.fault("missing-split", path.name, None, message)
        for name, of in tasks.items():
            yield from _Store(base / name, base.relative_to(root) / name, of, intake).read()


def _base(root: Path) -> Path:
    return root / "stable" if "stable" in folders_in(root, 10_000) else root


def _splits(folder: Path) -> list[str]:
    """The splits of a store."""
    return [s for s in SPLITS if any(_SHARD.fullmatch(n) for n in names_in(folder / s, 100))]


class _Store:
    """A dataset."""

    def __init__(self, folder: Path, where: Path, tasks: list[Task], intake: Intake) -> None:
        self.folder, self.where, self.tasks, self.intake = folder, where.as_posix(), tasks, intake
        self.name, self.order = folder.name, 0
        facts = self._metadata()
        more = facts.get("additional_metadata")
        self.more: Mapping[str, Any] = more if isinstance(more, Mapping) else {}
        self.names = _names(self.more)
        about: dict[str, Any] = {"tasks": [t.facts() for t in tasks]} if tasks else {}
        for key in ("num_classes", "num_channels", "preprocessing"):
            if isinstance(facts.get(key), int | str):
                about[key] = facts[key]
        if is_file(folder / "status"):
            about["status"] = (folder / "status").read_bytes()[:100].decode("utf-8", "replace")
        self.group = len(intake.groups)
        intake.groups.append(rows.Group(self.name, "dataset", attributes=about or None))
        self.attributes: dict[str, Any] = {}
        if tasks:
            self.attributes = {"task": tasks[0].number, "year": tasks[0].year}
        if len(tasks) > 1:
            self.attributes["tasks"] = [t.number for t in tasks]
            self.attributes["years"] = [t.year for t in tasks]

    def read(self) -> Iterator[rows.Sample]:
        splits = _splits(self.folder)
        if {"train", "dev"} <= {*splits}:
            splits = [s for s in splits if s != "train_and_dev"]
        for split in splits:
            shards = [n for n in names_in(self.folder / split, 100_000) if _SHARD.fullmatch(n)]
            found = 0
            for shard in self._whole(split, shards):
                where = f"{self.where}/{split}/{shard}"
                for number, (offset, data) in enumerate(
                    records(self.folder / split / shard, where, self.intake)
                ):
                    found += 1
                    key = f"{self.name}/{split}/{shard[5:10]}-{number:06d}"
                    sample = self._sample(key, split, data, (where, f"byte {offset}"))
                    if sample is not None:
                        yield sample
            told = self.more.get("num_data_points_per_split")
            count = told.get(split) if isinstance(told, Mapping) else None
            if isinstance(count, int) and count != found:
                message = f"{found} records, and the metadata say {count}"
                self.intake.fault("conflicting-records", f"{self.where}/{split}", None, message)

    def _whole(self, split: str, shards: list[str]) -> list[str]:
        """The shards, with a fault for each that is absent."""
        number = max(int(s[-5:]) for s in shards)
        there = {int(s[5:10]) for s in shards}
        for i in sorted({*range(number)} - there):
            name = f"{self.where}/{split}/data-{i:05d}-of-{number:05d}"
            self.intake.fault("file-missing", name, None, "a shard is absent")
        return shards

    def _sample(
        self, key: str, split: str, data: bytes, where: tuple[str, str]
    ) -> rows.Sample | None:
        try:
            features = parse_example(data)
            labels = numbers(features, "label") + numbers(features, "multi_label")
        except ValueError as error:
            self.intake.fault("bad-value", *where, f"no Example: {error}")
            return None
        image = features.get("png_encoded_image")
        media = rows.Media(bytes=image[0]) if isinstance(image, list) and image else None
        if media is None:
            self.intake.fault("file-missing", *where, "a record without png_encoded_image")
        annotations = []
        for label in labels:
            if label != int(label) or label < 0:
                self.intake.fault("bad-value", *where, f"class {label}")
            else:
                annotations.append(rows.Annotation("label", self._category(int(label))))
        self.order += 1
        return rows.Sample(
            key,
            media,
            split=split,
            annotations=annotations,
            group=self.group,
            order=self.order - 1,
            attributes=dict(self.attributes) or None,
        )

    def _category(self, number: int) -> int:
        row = self.intake.category(self.names.get(number, str(number)), self.name)
        self.intake.categories[row].source_id = str(number)
        return row

    def _metadata(self) -> Mapping[str, Any]:
        """The fields of the metadata; none, with a finding, where they cannot be read."""
        path, where = self.folder / "metadata", f"{self.where}/metadata"
        try:
            raw = path.read_bytes()
            found = load_pickle(base64.b64decode(raw, validate=False), where, inert=OWN)
        except (OSError, binascii.Error, ValueError) as error:
            reason = error.reason if isinstance(error, FormatError) else str(error)
            message = f"{reason}; classes go by their numbers"
            self.intake.fault("file-not-read", where, None, message)
            return {}
        fields = found if isinstance(found, Mapping) else getattr(found, "__dict__", {})
        return {str(k): v for k, v in fields.items()}


def _names(more: Mapping[str, Any]) -> dict[int, str]:
    """Names of classes by number, where the handler noted them."""
    for key in _NAMES:
        found = more.get(key)
        if isinstance(found, Mapping):
            pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in found.items()]
            if pairs and all(isinstance(k, int) and isinstance(v, str) for k, v in pairs):
                return _unlike(dict(pairs))
        if isinstance(found, list | tuple) and found and all(isinstance(n, str) for n in found):
            return _unlike(dict(enumerate(found)))
    return {}


def _unlike(names: dict[int, str]) -> dict[int, str]:
    """Names of which two are equal say nothing: then there are none."""
    texts = [n for n in names.values() if not any(0xD800 <= ord(c) < 0xE000 for c in n)]
    return names if len({*texts}) == len(names) else {}
