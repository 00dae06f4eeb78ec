"""VoTT: the JSON export of a project.

::

    export.json    {"tags": [{"name", "color"}],
                    "assets": {id: {"asset": {"name", "size"},
                                    "regions": [{"type", "tags", "boundingBox", "points"}]}}}

``boundingBox`` has ``left, top, width, height`` in pixels from the top-left corner; of polygons,
``points`` are read. A region with several tags is one object per tag, those of one region having
one ``group_id`` among the unknown keys; one without is an object without a class. (The CSV export
of VoTT is read by ``csv``.)

Spec: https://github.com/microsoft/VoTT
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    take_size,
)
from granum.loaders._texts import hex_colour
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Vott"]


@formats("vott")
class Vott(Format):
    """Reads VoTT's JSON export."""

    name = "vott"
    title = "VoTT (JSON)"
    spec = "https://github.com/microsoft/VoTT"
    keeps = frozenset({"sample", "object", "category", "bbox", "mask", "colour", "attributes"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for path in json_files(root, LOOKS)[:4]:
            if peek(path, "assets", "tags"):
                return f"{path.name}: tags and assets"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read the exports in a folder.

        Raises:
            FormatError: there is none.
        """
        files = [p for p in json_files(root) if peek(p, "assets", "tags", size=1 << 20)]
        if not files:
            raise FormatError(root, "no JSON file with tags and assets")
        intake.media_root = intake.images or (root if root.is_dir() else root.parent)
        for path in files:
            where = file_name(path, root)
            intake.source(where, self.name)
            record = load_json(path, where)
            if not isinstance(record, dict) or not isinstance(record.get("assets"), dict):
                raise FormatError(where, "no assets", "/assets")
            for _, tag in entries(record, "tags", intake, where):
                if isinstance(tag, dict) and isinstance(tag.get("name"), str):
                    row = intake.category(tag["name"])
                    intake.categories[row].colour = hex_colour(tag.get("color"))
            for key, entry in record["assets"].items():
                sample = self._sample(entry, f"/assets/{key}", where, intake)
                if sample is not None:
                    yield sample

    def _sample(self, entry: Any, place: str, where: str, intake: Intake) -> rows.Sample | None:
        asset = entry.get("asset") if isinstance(entry, dict) else None
        name = asset.get("name") if isinstance(asset, dict) else None
        if not isinstance(name, str) or not name or not isinstance(asset, dict):
            intake.fault("missing-key", where, place, "an asset without a name")
            return None
        sample = rows.Sample(name, rows.Media(path=name), source_id=_text(asset.get("id")))
        size = asset.get("size")
        if isinstance(size, dict):
            take_size(sample, size, intake, where, f"{place}/asset/size")
        for at, region in entries(entry, "regions", intake, where, place):
            with bad_values(intake, where, at):
                sample.annotations += _region(region, intake)
        return sample


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _region(region: dict[str, Any], intake: Intake) -> list[rows.Annotation]:
    """The objects of a region, one per tag.

    Raises:
        as ``bad_values`` reports: a value that is absent or none.
    """
    box = polygons = None
    if region.get("type") == "POLYGON":
        polygons = [[[number(p, n) for p in region["points"] for n in ("x", "y")]]]
    else:
        edges = region["boundingBox"]
        x, y, w, h = (number(edges, n) for n in ("left", "top", "width", "height"))
        box = (x, y, w, h)
    tags: list[str | None] = [str(t) for t in region.get("tags") or []]
    shared = {"group_id": str(region.get("id"))} if len(tags) > 1 else None
    return [
        rows.Annotation(
            "object",
            None if tag is None else intake.category(tag),
            bbox=box,
            polygons=polygons,
            extra=shared,
            source_id=_text(region.get("id")),
        )
        for tag in tags or [None]
    ]
