"""Trees of MOTChallenge sequences: where they are, what ``seqinfo.ini`` says, which frames have
images, and the lists of splits."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, names_in
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = [
    "ALL",
    "SPLIT",
    "Sequence",
    "first_line",
    "is_sequence",
    "read_sequence",
    "sequences_in",
    "split_lists",
]

SPLIT = re.compile(r"(train|val|test|valid|validation|training|testing)\w*")
ALL = 10**7
_DEPTH = 3


@dataclass
class Sequence:
    """A folder with ``gt/gt.txt``, ``det/det.txt`` or ``seqinfo.ini``.

    Attributes:
        folder: path below the root, ``.`` where it is the root itself.
        images: folder of its frames, below its own.
        extension: of frames that have no file.
        frames: name of the image file by frame number.
        digits: of frame numbers in names.
        split: as the folder above tells.
        group: what else ``seqinfo.ini`` tells.
    """

    folder: str
    name: str
    group: rows.Group
    images: str = "img1"
    extension: str = ".jpg"
    frames: dict[int, str] = field(default_factory=dict)
    digits: int = 6
    split: str | None = None

    def path(self, frame: int) -> str:
        """Where the image of a frame is, below the root."""
        name = self.frames.get(frame, f"{frame:0{self.digits}d}{self.extension}")
        return "/".join(p for p in (self.folder, self.images, name) if p != ".")

    def file(self, name: str) -> str:
        """A file of the sequence, below the root."""
        return name if self.folder == "." else f"{self.folder}/{name}"


def is_sequence(folder: Path) -> bool:
    """Whether a folder is a sequence. Never raises."""
    try:
        return any((folder / f).is_file() for f in ("gt/gt.txt", "det/det.txt", "seqinfo.ini"))
    except (OSError, ValueError):
        return False


def sequences_in(root: Path, limit: int = ALL) -> Iterator[str]:
    """Folders of sequences, at most three levels below ``root``; those of one level in order of
    their names. At most ``limit`` entries of a folder are looked at."""
    waiting = [(".", 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        if is_sequence(root / folder):
            yield folder
        elif depth < _DEPTH:
            for name in folders_in(root / folder, limit):
                if name not in ("img1", "gt", "det"):
                    waiting.append((name if folder == "." else f"{folder}/{name}", depth + 1))


def first_line(path: Path) -> bytes:
    """The first line of a text, at most 4096 bytes of it; nothing where there is none."""
    try:
        with path.open("rb") as file:
            return file.readline(4096).removeprefix(b"\xef\xbb\xbf").strip()
    except (OSError, ValueError):
        return b""


def read_sequence(root: Path, folder: str, intake: Intake) -> Sequence:
    """What the files of a sequence beside its tracks tell."""
    name = root.resolve().name if folder == "." else folder.rpartition("/")[2]
    above = folder.split("/")[-2:-1]
    out = Sequence(folder, name, rows.Group(name if folder == "." else folder, "video"))
    out.split = above[0] if above and SPLIT.fullmatch(above[0]) else None
    out.group.source_id = name
    _read_info(root / folder / "seqinfo.ini", out, intake)
    where = out.file(out.images)
    for image in names_in(root / where, ALL):
        stem, _, suffix = image.rpartition(".")
        if is_image(image) and stem.isascii() and stem.isdigit():
            out.frames[int(stem)] = image
            out.digits, out.extension = len(stem), f".{suffix}"
        elif is_image(image):
            message = "its name is no frame number"
            intake.fault("file-not-read", f"{where}/{image}", None, message)
    return out


def _read_info(path: Path, out: Sequence, intake: Intake) -> None:
    """``seqinfo.ini``; what is wrong in it is a finding."""
    if not path.is_file():
        return
    where = out.file("seqinfo.ini")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        facts = dict(parser["Sequence"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        lineno = getattr(error, "lineno", None)
        place = None if lineno is None else f"line {lineno}"
        intake.fault("bad-value", where, place, f"no [Sequence]: {str(error).splitlines()[0]}")
        return
    group = out.group
    for key, name in (("imwidth", "width"), ("imheight", "height"), ("seqlength", "frames")):
        if key in facts:
            value = facts.pop(key)
            if re.fullmatch(r"\d{1,9}", value):
                setattr(group, name, int(value))
            else:
                intake.fault("bad-value", where, key, f"{value!r} is no number")
    if "framerate" in facts:
        value = facts.pop("framerate")
        try:
            group.fps = float(value)
        except ValueError:
            intake.fault("bad-value", where, "framerate", f"{value!r} is no number")
    folder = facts.pop("imdir", out.images).strip("/")
    if folder and not folder.startswith(".") and "\\" not in folder and ".." not in folder:
        out.images = folder
    if re.fullmatch(r"\.\w+", extension := facts.pop("imext", out.extension)):
        out.extension = extension
    if facts.pop("name", out.name) != out.name:
        intake.fault("conflicting-records", where, "name", f"the folder is named {out.name!r}")
    group.extra = facts or None


def split_lists(root: Path, intake: Intake) -> dict[str, list[str]]:
    """Which lists of ``splits_txt`` (or ``seqmaps``) name each sequence; a header ``name`` is
    passed over."""
    out: dict[str, list[str]] = {}
    for folder in ("splits_txt", "seqmaps"):
        for home in (root, root.parent):
            listed = [n for n in names_in(home / folder) if n.endswith(".txt")]
            for name in listed:
                path = home / folder / name
                try:
                    lines = path.read_text(encoding="utf-8-sig").split()
                except (OSError, UnicodeDecodeError) as error:
                    raise FormatError(path, f"cannot be read: {error}") from error
                for one in lines[lines[:1] == ["name"] :]:
                    out.setdefault(one, []).append(name.removesuffix(".txt"))
            if listed:
                break
    return out
