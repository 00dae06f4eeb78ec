"""Whole label images and heat maps: FiftyOne reads them from files of its own kinds."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse._fiftyone_labels import Labels
from granum.browse._fiftyone_samples import Embedded
from granum.schema.rows import LabelMap, Media
from granum.store.media import media_path, open_image, read_values

__all__ = ["WholeMaps"]


class WholeMaps:
    """Names the file of each whole map; writes one where FiftyOne could not read the original.

    Args:
        root: folder that paths of label images are relative to.
        embedded: writes files.
    """

    def __init__(self, root: str | None, embedded: Embedded) -> None:
        self.root, self.embedded = root, embedded
        self.notes: list[str] = []
        self.coloured: set[str] = set()

    def fill(self, table: pa.Table, at: npt.NDArray[np.int64], labels: Labels) -> None:
        """Sets the paths of map and heat labels; those that cannot be shown are taken out.

        Args:
            table: annotations.
            at: for each row its sample.
            labels: made from them.
        """
        for key in [k for k in labels.rows if k.startswith(("map:", "heat:"))]:
            rows, documents = labels.rows[key], labels.documents[key]
            taken: set[int] = set()
            kept = []
            for k, row in enumerate(rows.tolist()):
                entry = LabelMap(**table["map"][row].as_py())
                path = None
                if int(at[row]) in taken:
                    self._note(key, "a sample shows the first of several")
                else:
                    path = self._file(key, entry)
                if path is not None:
                    documents[k]["map_path" if key.startswith("heat") else "mask_path"] = str(path)
                    taken.add(int(at[row]))
                    kept.append(k)
            labels.rows[key] = rows[kept]
            labels.documents[key] = [documents[k] for k in kept]

    def _note(self, key: str, text: str) -> None:
        self.notes.append(f"{key.rstrip(':')}: {text}")

    def _file(self, key: str, entry: LabelMap) -> Path | None:
        original = None
        if entry.bytes is None:
            original = media_path(Media(entry.path), self.root).absolute()
        with open_image(original or entry.bytes or b"") as image:
            palette = image.mode == "P"  # which FiftyOne would read as colours
        as_it_is = key.startswith("heat") or (entry.encoding in ("index", "rgb24") and not palette)
        if as_it_is and entry.encoding == "rgb24":
            self.coloured.add(key)
        if as_it_is and original is not None:
            return original
        if self.embedded.root is None:
            self._note(
                key, "label images that are embedded, or have a palette, need embed_root=DIR"
            )
            return None
        if as_it_is:
            return self.embedded.write(key.replace(":", "_"), entry.bytes or b"")
        return self._indexed(key, read_values(entry, self.root))

    def _indexed(self, key: str, values: npt.NDArray[np.int64]) -> Path | None:
        from PIL import Image

        if values.size and (values.min() < 0 or values.max() > 65535):
            self._note(key, "label images with values above 65535 are not shown")
            return None
        small = not values.size or values.max() <= 255
        file = BytesIO()
        Image.fromarray(values.astype(np.uint8 if small else np.uint16)).save(file, "png")
        return self.embedded.write(key.replace(":", "_"), file.getvalue(), ".png")
