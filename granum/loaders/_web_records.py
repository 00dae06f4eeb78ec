"""Records of WebDataset shards: members grouped, their contents as samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import is_image
from granum.loaders._json_files import decode_record, number
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._tar import Member, is_tar, members, stem_of
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = ["Records", "key_of", "shards", "sniff_shards", "split_of"]

TEXTS = ("txt", "text", "caption")
_KNOWN = frozenset(
    {
        *("width", "height", "caption", "captions", "text", "label", "labels"),
        *("objects", "annotations", "attributes"),
    }
)


def shards(root: Path) -> list[Path]:
    """A shard, or those below a folder, sorted by name within their folder."""
    if is_file(root):
        return [root] if is_tar(root.name) else []
    found = (p for p in root.rglob("*.t*") if is_tar(p.name) and p.is_file())
    return sorted(p for p in found if not any(n.startswith(".") for n in p.parts[-2:]))


def key_of(name: str) -> tuple[str, str] | None:
    """The key of a member and its suffix in lower case, split at the first dot of the name; None
    where it has no such."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem, suffix.lower()) if stem and dot and suffix else None


def split_of(where: str) -> str | None:
    """The split that the name of a shard, or its folder, tells."""
    folder, _, name = where.rpartition("/")
    words = stem_of(name).rstrip("0123456789").rstrip("-_.").replace("_", "-").split("-")
    for word in (words[0], words[-1], folder.rpartition("/")[2]):
        if known_split(word):
            return word
    return None


def sniff_shards(root: Path) -> str | None:
    """Why a path looks like shards, or None: a tar file at the root, or in a folder of a split,
    with an image that has a companion, or whose name ends in a number."""
    if is_file(root):
        listed = [root] if is_tar(root.name) else []
    else:
        folders = [root, *(root / f for f in folders_in(root, 50) if known_split(f))]
        listed = [f / n for f in folders for n in names_in(f, 2000) if is_tar(n)][:1]
        if "metadata.jsonl" in names_in(root):
            return None  # the images of its rows
    for path in listed:
        counted = stem_of(path.name)[-1:].isdigit()
        suffixes: dict[str, set[str]] = {}
        for member in islice(members(path, "", None, lambda _: False), 32):
            found = key_of(member.name)
            if found is not None:
                suffixes.setdefault(found[0], set()).add(found[1])
        for key, kinds in suffixes.items():
            if any(is_image(f"a.{k}") for k in kinds) and (counted or len(kinds) > 1):
                return f"{path.name}: members of one key ({key}.{', .'.join(sorted(kinds))})"
    return None


@dataclass
class Records:
    """Reads shards.

    Attributes:
        intake: gets categories, groups and faults.
        images: whether the bytes of images are taken.
        numbers: rows of categories by the numbers that ``.cls`` uses.
        names: rows of categories by name; None: whatever name comes is one.
        noted: what our writer noted, by place (shard and member of the image).
        met: which of these have come.
    """

    intake: Intake
    images: bool = True
    numbers: list[int] | None = None
    names: Mapping[str, int] | None = None
    noted: Mapping[str, rows.Sample] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)

    def read(self, path: Path, where: str) -> Iterator[rows.Sample]:
        """The samples of a shard."""
        others: Counter[str] = Counter()
        seen: set[str] = set()
        key: str | None = None
        record: dict[str, Member] = {}
        wanted = None if self.images else lambda name: not is_image(name)
        for member in members(path, where, self.intake, wanted):
            base = member.name.rpartition("/")[2]
            if member.name == base and base.startswith("__") and base.endswith("__"):
                continue  # facts about the shard
            found = key_of(member.name)
            suffix = "" if found is None else found[1]
            last = suffix.rpartition(".")[2]
            if found is None or not (last in TEXTS or last in ("json", "cls") or is_image(base)):
                others[suffix] += 1
                if found is None:
                    continue
            if found[0] != key:
                if key is not None:
                    yield from self._samples(key, record, where, seen)
                key, record = found[0], {}
            if suffix in record:
                message = f"a second member {suffix!r} of the record {key!r}"
                self.intake.fault("bad-value", where, member.name, message)
            else:
                record[suffix] = member
        if key is not None:
            yield from self._samples(key, record, where, seen)
        for suffix, n in sorted(others.items()):
            message = f"{n} member(s) of the kind {suffix!r}"
            self.intake.fault("file-not-read", where, None, message)

    def _samples(
        self, key: str, record: dict[str, Member], where: str, seen: set[str]
    ) -> Iterator[rows.Sample]:
        """The samples of a record, one for each image."""
        pictures = [s for s in record if is_image(f"a.{s}")]
        pictures.sort(key=lambda s: "." in s)  # the plain one first
        apart = " (others of its key do not follow)" if key in seen else ""
        seen.add(key)
        shard = stem_of(where)
        if not pictures:
            name = next(iter(record.values())).name
            self.intake.fault("file-missing", where, name, f"a record without an image{apart}")
        sample = self._sample(key, record, pictures, where)
        self._annotate(sample, record, where)
        if len(pictures) < 2:
            yield sample
            return
        kind = "pair" if len(pictures) == 2 else "series"
        self.intake.groups.append(rows.Group(f"{shard}/{key}", kind))
        for i, suffix in enumerate(pictures):
            one = sample if not i else self._sample(key, record, [suffix], where)
            one.group, one.order = len(self.intake.groups) - 1, i
            one.role = suffix.rpartition(".")[0] or "image"
            yield one

    def _sample(
        self, key: str, record: dict[str, Member], pictures: Sequence[str], where: str
    ) -> rows.Sample:
        name = record[pictures[0]].name if pictures else key
        place = f"{where}/{name}"
        if place in self.noted:
            self.met.add(place)
            sample = replace(self.noted[place])
        else:
            sample = rows.Sample(f"{stem_of(where)}/{name}", split=split_of(where))
        data = record[pictures[0]].data if pictures else None
        sample.media = None if data is None else rows.Media(place, data)
        return sample

    # ------------------------------------------------------------------ contents

    def _annotate(self, sample: rows.Sample, record: dict[str, Member], where: str) -> None:
        captions: list[str] = []
        labels: list[rows.Annotation] = []
        for suffix, member in record.items():
            last = suffix.rpartition(".")[2]
            data, place = member.data, member.name
            if data is None:
                continue
            if last == "json":
                found = decode_record(data, where, place, self.intake)
                if found is not None:
                    try:
                        self._facts(sample, found, captions, labels)
                    except (KeyError, TypeError, ValueError, AttributeError) as error:
                        message = f"no {error}" if isinstance(error, KeyError) else str(error)
                        self.intake.fault("bad-value", where, place, message)
            elif last in TEXTS:
                try:
                    text = data.decode("utf-8-sig")
                except UnicodeDecodeError as error:
                    self.intake.fault("bad-value", where, place, f"no UTF-8 text: {error}")
                    continue
                captions.append(text.removesuffix("\n").removesuffix("\r"))
            elif last == "cls":
                row = self._numbered(data, where, place)
                if row is not None:
                    labels.append(rows.Annotation("label", row))
        sample.annotations += [
            rows.Annotation("caption", text=t)
            for t in (captions if self.noted else dict.fromkeys(captions))
        ]
        if self.noted:
            sample.annotations += labels
        else:  # many tools write the class as number and as name
            sample.annotations += {one.category: one for one in labels}.values()

    def _numbered(self, data: bytes, where: str, place: str) -> int | None:
        """The category of a class number."""
        text = data[:40].strip()
        if not text.isdigit() or len(text) > 9:
            self.intake.fault("bad-value", where, place, f"{data[:40]!r} is no number of a class")
            return None
        value = int(text)
        if self.numbers is None:
            row = self.intake.category(str(value))
            self.intake.categories[row].source_id = str(value)
            return row
        if value < len(self.numbers):
            return self.numbers[value]
        message = f"class {value} of {len(self.numbers)}"
        self.intake.fault("unknown-class", where, place, message)
        return self.intake.category(str(value)) if self.intake.on_error == "fix" else None

    def _category(self, name: Any) -> int:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ValueError(f"{name!r} is no class")
        if isinstance(name, int) and self.numbers is not None and 0 <= name < len(self.numbers):
            return self.numbers[name]
        known = None if self.names is None else self.names.get(str(name))
        return self.intake.category(str(name)) if known is None else known

    def _facts(
        self,
        sample: rows.Sample,
        found: dict[str, Any],
        captions: list[str],
        labels: list[rows.Annotation],
    ) -> None:
        """What a JSON member says.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a value that is absent or none.
        """
        for column in ("width", "height"):
            value = found.get(column)
            if isinstance(value, int) and 0 < value < 2**31:
                setattr(sample, column, value)
            elif value is not None:
                raise ValueError(f"{column} is {value!r}")
        given = found.get("attributes")
        named = isinstance(given, dict)
        others = {k: v for k, v in found.items() if k not in _KNOWN}
        if given is not None and not named:
            others["attributes"] = given
        sample.attributes = {**others, **(given if isinstance(given, dict) else {})}
        if not sample.attributes and not named:
            sample.attributes = None
        for key in ("caption", "text", "captions"):
            value = found.get(key)
            texts = value if isinstance(value, list) else [] if value is None else [value]
            if not all(isinstance(t, str) for t in texts):
                raise ValueError(f"{key} is no text: {value!r:.60}")
            captions += texts
        for key in ("label", "labels"):
            value = found.get(key)
            classes = value if isinstance(value, list) else [] if value is None else [value]
            labels += [rows.Annotation("label", self._category(c)) for c in classes]
        for key in ("objects", "annotations"):
            listed = found.get(key) or []
            if not isinstance(listed, list):
                raise ValueError(f"{key} is no list")
            sample.annotations += [self._object(one) for one in listed]

    def _object(self, found: dict[str, Any]) -> rows.Annotation:
        name = found.get("category", found.get("label"))
        one = rows.Annotation("object", None if name is None else self._category(name))
        box = found.get("bbox")
        if box is not None:
            if len(box) != 4:
                raise ValueError(f"bbox has {len(box)} numbers")
            x, y, w, h = (number({"bbox": v}, "bbox") for v in box)
            one.bbox = (x, y, w, h)
        if found.get("score") is not None:
            one.score = number(found, "score")
        crowd = found.get("iscrowd")
        if crowd is not None and crowd not in (0, 1):
            raise ValueError(f"iscrowd is {crowd!r}")
        one.crowd = None if crowd is None else bool(crowd)
        mask = found.get("segmentation")
        if isinstance(mask, dict):
            height, width = (int(number({"size": v}, "size")) for v in mask["size"])
            if not (0 < height < 2**31 and 0 < width < 2**31):
                raise ValueError(f"size is {mask['size']!r}")
            one.rle = rows.Rle((height, width), mask["counts"].encode("ascii"))
        elif mask:
            one.polygons = [[[number({"point": v}, "point") for v in ring]] for ring in mask]
        given = found.get("attributes")
        if given is not None and not isinstance(given, dict):
            raise ValueError("attributes are no object")
        one.attributes = given
        return one
