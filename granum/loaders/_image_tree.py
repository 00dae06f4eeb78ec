"""Folders of images: what lies in them, which folders are splits, which are classes.

Rules (documented in ``image_folder``):

* The folders at the root are splits when all that hold anything have names of splits (train, val,
  validation, test, dev…, in any case).
* Below the root, or below each split, the first folder is the class, whatever lies deeper. Classes
  are taken only where there are at least two such folders and not all of them have names of
  containers (images, photos…); images beside the class folders have no class.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from granum.loaders._hf_files import OWN_FOLDER, known_split
from granum.loaders._paths import folders_in, names_in, split_suffix, walk
from granum.loaders.base import Intake
from granum.store.media import IMAGE_SUFFIXES

__all__ = [
    "LOOKS",
    "METADATA",
    "OWN_FILE",
    "Tree",
    "classes_of",
    "files_below",
    "files_of_splits",
    "is_image",
    "sniff_tree",
    "splits_of",
]

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
OWN_FILE = "granum.json"
"""What our own writer notes beside the images."""

CONTAINERS = frozenset(
    {
        *("images", "image", "img", "imgs", "photos", "pictures", "data", "jpg", "jpeg", "png"),
        *("jpegimages", "frames", "files"),
    }
)
"""Folders that hold images of any class."""

_SKIPPED = frozenset({OWN_FOLDER, "__MACOSX", "__pycache__"})

_ANNOTATION_FOLDERS = frozenset(
    {
        *("annotation", "annotations", "label", "labels", "labeltxt", "gt", "gts"),
        *("mask", "masks", "ground_truth", "groundtruth", "gtfine", "gtcoarse", "leftimg8bit"),
        *("segmentation", "segmentations", "segmentationclass", "segmentationobject", "semseg"),
        *("instances", "semantic", "panoptic", "seg", "segs", "scribbles", "depth", "depthleft"),
        *("rgb", "rgbleft", "gtleft", "disparity", "lr", "hr", "upsampled", "imagesets"),
        *("gt_bbox", "bounding_box_train", "bounding_box_test", "bbox_train"),
        *("label1", "label2", "label_bin", "im1_label", "im2_label", "imgs_1_rect"),
        *("infrared", "lwir"),
        *("bbox_test", "trainannot", "valannot", "testannot", "image_2", "label_2", "velodyne"),
        *("img1", "image_02", "label_02", "instance", "instances_txt"),
        "stuffthingmaps_trainval2017",
    }
)
"""Folders, in lower case, that belong to formats of their own: a tree with one is left to them."""

_HARMLESS = (".md", ".rst", ".html", ".ds_store", ".db", ".ini", ".gitkeep", ".gitattributes")
_ENTRIES = 20_000


def is_image(name: str) -> bool:
    """Whether a file name is that of an image."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES if "." in name else False


def _harmless(name: str) -> bool:
    lower = name.lower()
    plain_text = lower.rpartition(".")[0] if lower.endswith(".txt") else lower
    return (
        name.startswith(".")
        or lower.endswith(_HARMLESS)
        or plain_text in ("license", "licence", "readme", "notice", "copying")
        or name == OWN_FILE
    )


@dataclass
class Tree:
    """The files of a folder, as sorted relative paths with ``/``.

    Attributes:
        images: images by suffix.
        folders: folders, empty ones included.
        metadata: metadata files of the `datasets` library.
        others: files that are none of these and no read-me or licence.
        links: links to folders, which are not followed.
    """

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Everything below ``root``; hidden files and folders are left out."""
        tree = cls()
        for before, below, files in walk(root):
            below[:] = [n for n in below if n not in _SKIPPED]
            links = {n for n in below if (root / before / n).is_symlink()}
            tree.links += [before + n for n in below if n in links]
            tree.folders += [before + n for n in below if n not in links]
            for name in files:
                if is_image(name):
                    tree.images.append(before + name)
                elif name in METADATA:
                    tree.metadata.append(before + name)
                elif not _harmless(name):
                    tree.others.append(before + name)
        for listed in (tree.images, tree.folders, tree.metadata, tree.others):
            listed.sort()
        return tree


def files_below(root: Path, folder: str, intake: Intake) -> dict[str, str]:
    """Images below a folder: path inside it without suffix, and path from the root. Of two that
    differ in their suffix the later one is reported."""
    found: dict[str, str] = {}
    for before, _, names in walk(root / folder):
        for name in filter(is_image, names):
            stem = split_suffix(before + name)[0]
            path = f"{folder}/{before}{name}".lstrip("/")
            if stem in found:
                intake.fault("file-not-read", path, None, f"{found[stem]} has the same name")
            else:
                found[stem] = path
    return found


LOOKS = 20_000
"""Names that ``sniff`` looks at in a folder: images may lie beside the one file that counts."""


def files_of_splits(root: Path, suffix: str, but: str, limit: int = 10**7) -> list[Path]:
    """The files in a folder with a suffix, else those in its folders that are splits; never one
    called ``but``. ``limit`` names of each are looked at. Never raises."""

    def listed(folder: Path) -> list[Path]:
        names = names_in(folder, limit)
        return [folder / n for n in names if n.lower().endswith(suffix) and n != but]

    folders = [root / f for f in folders_in(root, limit) if known_split(f)]
    return listed(root) or [p for folder in folders for p in listed(folder)]


def splits_of(tree: Tree) -> dict[str, str | None]:
    """Folders at the root that are splits; empty where not all of them are."""
    held = (p.partition("/")[0] for p in (*tree.images, *tree.metadata) if "/" in p)
    found = dict.fromkeys(held)
    return {n: n for n in found} if found and all(known_split(n) for n in found) else {}


def classes_of(tree: Tree, splits: Mapping[str, str | None]) -> list[str]:
    """Names of the class folders, sorted; empty where there are no classes.

    A folder that holds files but no image is none.
    """
    roots = tuple(f"{s}/" for s in splits) or ("",)
    found, held, alien = set[str](), set[str](), set[str]()
    for root in roots:
        for paths, into in ((tree.images, held), (tree.others, alien)):
            into |= first_folders(p[len(root) :] for p in paths if p.startswith(root))
        below = (p[len(root) :] for p in tree.folders if p.startswith(root))
        found |= {p for p in below if "/" not in p}
    found -= alien - held
    if len(found) < 2 or all(n.lower() in CONTAINERS for n in found):
        return []
    return sorted(found)


# ---------------------------------------------------------------------- sniffing


def sniff_tree(root: Path) -> str | None:
    """Why a folder looks like images in folders and nothing else, or None.

    Looks at no more than some thousand entries, those near the root first. Any file that may hold
    annotations, and any folder that other formats have, says no.
    """
    try:
        return _sniff(root)
    except (OSError, ValueError):
        return None


def _sniff(root: Path) -> str | None:
    if not root.is_dir() or root.name.lower().startswith("stuffthingmaps"):
        return None
    images, left = 0, _ENTRIES
    example = ""
    waiting = deque([root])
    while waiting and left > 0:
        folder = waiting.popleft()
        stems: dict[str, str] = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                left -= 1
                if left <= 0:
                    break
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    if name.lower() in _ANNOTATION_FOLDERS:
                        return None
                    if name not in _SKIPPED:
                        waiting.append(Path(entry.path))
                elif is_image(name):
                    stem, _, suffix = name.rpartition(".")
                    # One name with two suffixes is a photo and its mask.
                    if stems.setdefault(stem, suffix) != suffix:
                        return None
                    images += 1
                    example = example or name
                elif not _harmless(name):
                    return None
    return f"{_count(images, left)} (first: {example}) and no annotation files" if images else None


def _count(images: int, left: int) -> str:
    return f"{images} images" if left > 0 else f"more than {images} images"


def first_folders(paths: Iterable[str]) -> set[str]:
    """The first folder of each path that has one."""
    return {p.partition("/")[0] for p in paths if "/" in p}
