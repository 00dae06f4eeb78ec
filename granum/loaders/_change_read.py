"""Change pairs, read: which folders are dates and maps, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from granum.errors import GranumError
from granum.loaders._geo import GeoTags
from granum.loaders._image_tree import files_below, is_image
from granum.loaders._map_masks import label_values
from granum.loaders._paths import folders_in, names_in, split_suffix
from granum.loaders._texts import read_text
from granum.loaders.base import Intake
from granum.schema import geometry, rows
from granum.store.media import open_image

__all__ = [
    "ROLES",
    "SPACE",
    "Derive",
    "Maps",
    "Tree",
    "class_of_line",
    "dated",
    "find_trees",
    "looks_paired",
    "read_classes",
    "read_trees",
]

SPACE = "change"
"""The label space of changes, as opposed to what is there at one date (``object``)."""
ROLES = ("t1", "t2")

DATES = (
    *(("a", "b"), ("image1", "image2"), ("im1", "im2"), ("t1", "t2"), ("time1", "time2")),
    *(("before", "after"), ("pre", "post")),
)
LABELS = (("label1", "label2"), ("labels1", "labels2"), ("im1_label", "im2_label"))
CHANGES = ("label", "labels", "label_bin", "change", "changes", "cm", "mask", "masks", "gt")
SPLITS = ("train", "val", "valid", "validation", "test", "trainval", "demo")

Derive = Literal["differs", "nonzero"]


@dataclass(frozen=True)
class Tree:
    """One folder that holds both dates; paths are relative to the root.

    Attributes:
        split: of all that is in it.
        dates: folders of the images.
        labels: folders of the label maps of each date.
        changes: folders of maps of change, and what each is called.
    """

    folder: str
    split: str | None
    dates: tuple[str, str]
    labels: tuple[str, str] | None
    changes: tuple[tuple[str, str], ...]


def find_trees(
    root: Path,
    dates: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    change: str | None = None,
    directions: bool | None = None,
) -> list[Tree]:
    """Folders with two dates: the root itself, or those below it.

    Args:
        root: the folder.
        dates, labels, change: names of folders; None takes those that are known.
        directions: ``label1`` and ``label2`` are what was built and what was demolished; None where
            the dates are called Image1 and Image2.
    """
    found = []
    for folder in ("", *folders_in(root)):
        held = {n.lower(): n for n in folders_in(root / folder)}
        pair = _pair(held, [tuple(dates)] if dates else DATES)
        if pair is None:
            continue
        before = f"{folder}/" if folder else ""
        maps = _pair(held, [tuple(labels)] if labels else LABELS)
        built = directions if directions is not None else pair[0].lower() == "image1"
        names = [change.lower()] if change else CHANGES
        changes = [(before + held[n], "change") for n in names if n in held][:1]
        if maps is not None and built:
            changes += [(before + maps[0], "newly built"), (before + maps[1], "demolished")]
            maps = None
        found.append(
            Tree(
                folder,
                folder or None,
                (before + pair[0], before + pair[1]),
                None if maps is None else (before + maps[0], before + maps[1]),
                tuple(changes),
            )
        )
        if not folder:
            break
    return found


def _pair(held: Mapping[str, str], known: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    for one, two in known:
        if one.lower() in held and two.lower() in held:
            return held[one.lower()], held[two.lower()]
    return None


def looks_paired(root: Path, tree: Tree) -> str | None:
    """A name that both dates have, among the first few."""
    names = [n for n in names_in(root / tree.dates[0], 50) if is_image(n)]
    other = root / tree.dates[1]
    try:
        return next((n for n in names[:20] if (other / n).is_file()), None)
    except (OSError, ValueError):
        return None


# ---------------------------------------------------------------------- lists


def _lists(root: Path) -> dict[str, Path]:
    """Lists of names by split: ``list/*.txt``, or ``train.txt``… beside the images."""
    found = {n[:-4]: root / "list" / n for n in names_in(root / "list") if n.endswith(".txt")}
    if not found:
        names = [n for n in names_in(root) if n.endswith(".txt") and n[:-4].lower() in SPLITS]
        found = {n[:-4]: root / n for n in names}
    return {n: found[n] for n in sorted(found, key=lambda n: (n not in SPLITS[:5], n))}


def _listed(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and names without folder and suffix; of several words the first one counts."""
    for number, line in enumerate(read_text(path, path).splitlines(), 1):
        words = line.split()
        name = line.strip() if is_image(line.strip()) else words[0] if words else ""
        if name:
            name = PurePosixPath(name.replace("\\", "/")).name
            yield number, split_suffix(name)[0] if is_image(name) else name


# ---------------------------------------------------------------------- reading


@dataclass
class Maps:
    """How label maps are read.

    Attributes:
        encoding: of label maps of a date: ``index`` or ``rgb24``.
        change: ``nonzero`` (a mask) or ``index`` (classes of the space ``change``).
        derive: what a change is where no map of it is stored.
        every: whether every map is opened, or the header of the first of each folder.
    """

    root: Path
    intake: Intake
    encoding: str = "index"
    change: str = "nonzero"
    derive: Derive | None = None
    every: bool = False

    def __post_init__(self) -> None:
        self._seen: set[str] = set()

    def of_date(self, path: str, image: str | None = None) -> rows.Annotation:
        """The label map of one date."""
        self.look(path, self.encoding, image)
        return rows.Annotation(map=rows.LabelMap(path, encoding=self.encoding, space="object"))

    def of_change(self, path: str, name: str, image: str | None = None) -> rows.Annotation:
        """A map of what changed."""
        self.look(path, self.change, image)
        if self.change == "index":
            return rows.Annotation(map=rows.LabelMap(path, encoding="index", space=SPACE))
        category = self.intake.category(name, SPACE)
        return rows.Annotation(category=category, map=rows.LabelMap(path, encoding="nonzero"))

    def derived(self, first: str, second: str) -> rows.Annotation | None:
        """The change between two label maps, as asked for."""
        category = self.intake.category("change", SPACE)
        if self.derive == "nonzero":
            return rows.Annotation(category=category, map=rows.LabelMap(second, encoding="nonzero"))
        one, two = (label_values(p, self.root, self.intake, self.encoding) for p in (first, second))
        if one is None or two is None:
            return None
        if one.shape != two.shape:
            message = f"is {two.shape[::-1]}, but {first} is {one.shape[::-1]}"
            self.intake.fault("mask-size-mismatch", second, None, message)
            return None
        return rows.Annotation(category=category, rle=rows.Rle(*geometry.encode_mask(one != two)))

    def look(self, path: str, encoding: str, image: str | None = None) -> None:
        """Report a map whose header is not what its encoding says; with ``every``, one that does
        not decode or has another size than its image."""
        folder = path.rpartition("/")[0]
        if folder in self._seen and not self.every:
            return
        self._seen.add(folder)
        try:
            with open_image(self.root / path) as found:
                colour = found.mode in ("RGB", "RGBA")
                if self.every:
                    found.load()
                size = found.size
        except (GranumError, OSError, ValueError, SyntaxError) as error:
            self.intake.fault("broken-media", path, None, str(error))
            return
        if encoding == "index" and colour:
            self.intake.fault("bad-value", path, None, "colours, not class numbers: label_values")
        if encoding == "rgb24" and not colour:
            self.intake.fault("bad-value", path, None, "class numbers, not colours: label_values")
        if self.every and image is not None:
            try:
                with open_image(self.root / image) as other:
                    stated = other.size
            except GranumError as error:
                self.intake.fault("broken-media", image, None, str(error))
                return
            if stated != size:
                message = f"is {size}, but {image} is {stated}"
                self.intake.fault("mask-size-mismatch", path, None, message)


def read_trees(
    root: Path, trees: Sequence[Tree], intake: Intake, maps: Maps, geo: GeoTags
) -> Iterator[rows.Sample]:
    """Samples of all pairs, those of a pair one after the other."""
    for tree in trees:
        split_of: dict[str, list[str]] = {}
        lists = _lists(root) if tree.split is None else {}
        for name, path in lists.items():
            where = path.relative_to(root).as_posix()
            intake.source(where, "list")
            for number, stem in _listed(path):
                if name in split_of.setdefault(stem, []):
                    message = f"{stem!r} is listed twice"
                    intake.fault("duplicate-row", where, f"line {number}", message)
                else:
                    split_of[stem].append(name)
        yield from _read_tree(root, tree, split_of if lists else None, intake, maps, geo)


def dated(path: str, order: int, split: str | None, group: int | None, geo: GeoTags) -> rows.Sample:
    """The image of the first (0) or second date."""
    return rows.Sample(
        path,
        rows.Media(path),
        split=split,
        group=group,
        role=ROLES[order],
        order=order,
        geo=geo(path),
        media_kind="raster" if path.lower().endswith((".tif", ".tiff")) else "image",
    )


def _read_tree(
    root: Path,
    tree: Tree,
    split_of: Mapping[str, Sequence[str]] | None,
    intake: Intake,
    maps: Maps,
    geo: GeoTags,
) -> Iterator[rows.Sample]:
    images = [files_below(root, d, intake) for d in tree.dates]
    labels = [files_below(root, d, intake) for d in tree.labels or ()]
    changes = [(files_below(root, d, intake), d, name) for d, name in tree.changes]
    stems = {*images[0], *images[1]}
    for listed in (*labels, *(c[0] for c in changes)):
        for stem in listed.keys() - stems:
            intake.fault("orphan-image", listed[stem], None, "no image of this name")
    short = {s.rpartition("/")[2] for s in stems}
    for stem in [s for s in split_of or () if s not in stems and s not in short]:
        name = (split_of or {})[stem][0]
        intake.fault("file-missing", f"{tree.dates[0]}/{stem}", None, f"listed in {name}")
    for stem in sorted(stems):
        held = [one.get(stem) for one in images]
        split, further = tree.split, None
        if split_of is not None:
            named = split_of.get(stem) or split_of.get(stem.rpartition("/")[2]) or ()
            split, further = named[0] if named else None, list(named[1:]) or None
            if not named:
                intake.fault("unlisted-image", held[0] or held[1] or stem, None, "no list names it")
        group = None
        if all(held):
            key = f"{tree.folder}/{stem}" if tree.folder else stem
            about = {"lists": further} if further else None
            intake.groups.append(rows.Group(key, "pair", source_id=stem, attributes=about))
            group = len(intake.groups) - 1
        pair = []
        for order, path in enumerate(held):
            if path is None:
                continue
            sample = dated(path, order, split, group, geo)
            if group is None:
                message = f"{tree.dates[1 - order]} has no image of this name"
                intake.fault("incomplete-group", path, None, message)
            if labels:
                if stem in labels[order]:
                    sample.annotations.append(maps.of_date(labels[order][stem], path))
                else:
                    message = f"{tree.labels and tree.labels[order]} has none of this name"
                    intake.fault("missing-labels", path, None, message)
            pair.append(sample)
        if pair and pair[-1].role == ROLES[1]:
            last = pair[-1]
            for listed, folder, name in changes:
                if stem in listed:
                    last.annotations.append(maps.of_change(listed[stem], name, last.key))
                else:
                    intake.fault(
                        "missing-labels", last.key, None, f"{folder} has none of this name"
                    )
            if not changes and maps.derive and len(labels) == 2 and all(stem in x for x in labels):
                derived = maps.derived(labels[0][stem], labels[1][stem])
                last.annotations += [] if derived is None else [derived]
        yield from pair


def read_classes(root: Path, name: str, intake: Intake) -> None:
    """Categories of a file of lines ``VALUE NAME`` or ``R G B NAME``; nothing where it is absent.

    The value is the category's ``source_id``; of a colour it is R + 256 G + 65536 B.
    """
    path = root / name
    if not path.is_file():
        return
    text = read_text(path, name)
    intake.source(name, "classes")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = class_of_line(line)
        if found is None:
            intake.fault("bad-value", name, f"line {number}", f"no value and name: {line!r}")
        elif any(c.source_id == found.source_id for c in intake.categories):
            message = f"{found.source_id} is a class already"
            intake.fault("duplicate-category-id", name, f"line {number}", message)
        else:
            intake.add_category(found)


def class_of_line(line: str) -> rows.Category | None:
    """The class of ``VALUE NAME`` or ``R G B NAME``; separators may be commas."""
    words = line.replace(",", " ").replace("\t", " ").split()
    colour = words[:3]
    if len(words) > 3 and all(w.isdecimal() and int(w) < 256 for w in colour):
        r, g, b = map(int, colour)
        value = str(r + 256 * g + 65536 * b)
        return rows.Category(" ".join(words[3:]), source_id=value, colour=[r, g, b])
    if len(words) > 1 and words[0].isdecimal():
        return rows.Category(" ".join(words[1:]), source_id=str(int(words[0])))
    return None
