"""Whole label images and heat maps: FiftyOne reads them from files of its own kinds, or from the
document of the sample."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse._fields import field_numbers
from granum.browse._fiftyone_labels import Labels
from granum.browse._fiftyone_masks import UNREADABLE, packed
from granum.browse._fiftyone_samples import Embedded
from granum.schema.rows import LabelMap, Media
from granum.schema.tables import column
from granum.store.media import media_path, open_image, read_values

__all__ = ["ROOM", "WholeMaps"]

ROOM = 3_000_000
"""Bytes of label images and heat maps that the document of a sample may hold."""

_HIGHEST = 65_535


class WholeMaps:
    """Names the file of each whole map. Where FiftyOne could not read the original (it is embedded,
    or has a palette) it writes one, or without a folder puts the array into the document.

    Args:
        root: folder that paths of label images are relative to.
        embedded: writes files.

    Attributes:
        notes: what is not shown, and why.
        coloured: forms whose label images have colours for values.
        ranges: of layer and form, the least and greatest number of its heat maps in documents.
    """

    def __init__(self, root: str | None, embedded: Embedded) -> None:
        self.root, self.embedded = root, embedded
        self.notes: list[str] = []
        self.coloured: set[str] = set()
        self.ranges: dict[tuple[str, str], list[float]] = {}

    def fill(
        self,
        table: pa.Table,
        at: npt.NDArray[np.int64],
        labels: Labels,
        room: npt.NDArray[np.int64],
        layer: str,
    ) -> None:
        """Sets what map and heat labels show; those that cannot be shown are taken out.

        Args:
            table: annotations.
            at: for each row its sample.
            labels: made from them.
            room: for each sample how many bytes its document may still take.
            layer: of the annotations.
        """
        for key in [k for k in labels.rows if k.startswith(("map:", "heat:"))]:
            rows, documents = labels.rows[key], labels.documents[key]
            taken: set[int] = set()
            kept = []
            for k, row in enumerate(rows.tolist()):
                sample = int(at[row])
                if sample in taken:
                    self._note(key, "a sample shows the first of several")
                    continue
                extra = column(table, "extra")[row].as_py()
                entry = LabelMap(**table["map"][row].as_py())
                try:
                    shown = self._shown(key, entry, extra, int(room[sample]))
                except UNREADABLE as error:
                    self._note(key, str(error).partition("\n")[0])
                    continue
                size = len(shown.get("map") or shown.get("mask") or b"")
                if size > room[sample]:
                    self._note(key, "some are too large for a document; they need embed_root=DIR")
                elif shown:
                    room[sample] -= size
                    documents[k].update(shown)
                    self._widen((layer, key), shown.get("range"))
                    taken.add(sample)
                    kept.append(k)
            labels.rows[key] = rows[kept]
            labels.documents[key] = [documents[k] for k in kept]

    def _note(self, key: str, text: str) -> None:
        self.notes.append(f"{key.rstrip(':')}: {text}")

    def _widen(self, of: tuple[str, str], span: list[float] | None) -> None:
        if span is not None:
            low, high = self.ranges.get(of, span)
            self.ranges[of] = [min(low, span[0]), max(high, span[1])]

    def _shown(self, key: str, entry: LabelMap, extra: str | None, room: int) -> dict[str, Any]:
        """The values of a label that say its pixels; none where they cannot be shown."""
        heat = key.startswith("heat")
        path = "map_path" if heat else "mask_path"
        original = None
        if entry.bytes is None:
            original = media_path(Media(entry.path), self.root).absolute()
        with open_image(original or entry.bytes or b"") as image:
            palette = image.mode == "P"  # which FiftyOne would read as colours
            pixels = np.asarray(image.convert("RGB")) if entry.encoding == "rgb24" else None
        as_it_is = heat or (entry.encoding in ("index", "rgb24") and not palette)
        if as_it_is and entry.encoding == "rgb24":
            self.coloured.add(key)
        if as_it_is and original is not None:
            return {path: str(original)}
        name = key.replace(":", "_")
        if heat:  # numbers, which can be compared from sample to sample as those of a file cannot
            known = None if extra is None else msgspec.json.decode(extra)
            made = _heat(field_numbers(read_values(entry, self.root), known))
            if len(made["map"]) <= room or self.embedded.root is None:
                return made
        if as_it_is and self.embedded.root is not None:
            return {path: str(self.embedded.write(name, entry.bytes or b""))}
        if as_it_is and pixels is not None:
            return {"mask": packed(pixels)}
        values = read_values(entry, self.root)
        if values.size and (values.min() < 0 or values.max() > _HIGHEST):
            self._note(key, f"label images with values above {_HIGHEST} are not shown")
            return {}
        small = values.astype(np.uint8 if values.max(initial=0) <= 255 else np.uint16)
        if self.embedded.root is None:
            return {"mask": packed(small)}
        return {path: str(self.embedded.write(name, _png(small), ".png"))}


def _heat(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """An array with its range; missing numbers are as the lowest."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return {"map": packed(np.nan_to_num(values, nan=low).astype(np.float32)), "range": [low, high]}


def _png(values: npt.NDArray[Any]) -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(values).save(file, "png")
    return file.getvalue()
