"""CreateML: JSON lists of images and their boxes, as Apple's tools and Roboflow have them.

::

    train/_annotations.createml.json    [{"image": "a.jpg",
                                          "annotations": [{"label": "cat", "coordinates":
                                              {"x", "y", "width", "height"}}]}]
    train/a.jpg

``x`` and ``y`` are the CENTRE of the box, in pixels from the top-left corner, as Apple has it. Some
tools write the corner, and the file does not tell: ``anchor`` says which. ``confidence`` is the
score.

Spec: https://developer.apple.com/documentation/createml/building-an-object-detector-data-source
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError
from granum.loaders._image_tree import LOOKS
from granum.loaders._json_files import (
    bad_values,
    entries,
    file_name,
    json_files,
    load_json,
    number,
    peek,
)
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["CreateMl"]

Anchor = Literal["center", "top-left"]


@formats("createml")
class CreateMl(Format):
    """Reads CreateML's JSON files."""

    name = "createml"
    title = "CreateML (JSON)"
    spec = (
        "https://developer.apple.com/documentation/createml/building-an-object-detector-data-source"
    )
    keeps = frozenset({"sample", "object", "category", "bbox", "score", "split"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for path in json_files(root, LOOKS)[:4]:
            if peek(path, "image", "annotations", "coordinates", "label"):
                return f"{path.name}: images with labels and coordinates"
        return None

    def read(
        self, root: Path, intake: Intake, *, anchor: Anchor = "center"
    ) -> Iterator[rows.Sample]:
        """Read the files of a folder, or of its splits.

        Args:
            root: a file or folder.
            intake: gets findings, categories, sources.
            anchor: what ``x`` and ``y`` are: the centre, or the top-left corner.

        Raises:
            FormatError: there is none.
        """
        files = json_files(root)
        if not files:
            raise FormatError(root, "no JSON file")
        intake.media_root = intake.images or (root if root.is_dir() else root.parent)
        for path in files:
            where = file_name(path, root)
            intake.source(where, self.name, options={"anchor": anchor})
            listed = load_json(path, where)
            if not isinstance(listed, list):
                raise FormatError(where, "no list of images")
            folder = where.rpartition("/")[0]
            for i, entry in enumerate(listed):
                name = entry.get("image") if isinstance(entry, dict) else None
                if not isinstance(name, str) or not name:
                    intake.fault("missing-key", where, f"/{i}", "an entry names no image")
                    continue
                key = f"{folder}/{name}" if folder else name
                sample = rows.Sample(key, rows.Media(path=key), split=folder or None)
                for place, one in entries(entry, "annotations", intake, where, f"/{i}"):
                    with bad_values(intake, where, place):
                        sample.annotations.append(_labelled(one, anchor, intake))
                yield sample


def _labelled(one: dict[str, Any], anchor: Anchor, intake: Intake) -> rows.Annotation:
    """One box.

    Raises:
        as ``bad_values`` reports: a value that is absent or none.
    """
    told = one["coordinates"]
    x, y, w, h = (number(told, n) for n in ("x", "y", "width", "height"))
    if anchor == "center":
        x, y = x - w / 2, y - h / 2
    score = number(one, "confidence") if "confidence" in one else None
    return rows.Annotation(
        "object", intake.category(str(one["label"])), bbox=(x, y, w, h), score=score
    )
