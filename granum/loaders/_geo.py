"""Where rasters lie: the tags of a GeoTIFF (by rasterio, extra ``geo``), and world files.

``samples.geo`` is ``crs`` (as ``EPSG:32633``, or WKT) and ``transform``: a, b, c, d, e, f, which
give x = a·column + b·row + c and y = d·column + e·row + f of the *corner* of a pixel. A world file
gives the *centre* of the first pixel, and its six lines are a, d, b, e, c, f; it has no ``crs``.
See https://en.wikipedia.org/wiki/World_file
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from granum.errors import MissingExtraError
from granum.loaders._paths import names_in, split_suffix
from granum.loaders.base import Intake

__all__ = ["GeoMode", "GeoTags", "find_rasterio", "open_raster"]

GeoMode = Literal["auto", "yes", "no"]
"""``auto`` reads the tags of GeoTIFFs where rasterio is there, ``yes`` asks for it."""

_TIFF = (".tif", ".tiff")


class GeoTags:
    """Finds what files tell about where an image lies; headers only.

    Args:
        root: what paths are relative to.
        mode: see ``GeoMode``.
        intake: gets a finding for a world file that cannot be read.

    Raises:
        MissingExtraError: ``yes``, and rasterio is not installed.
    """

    def __init__(self, root: Path, mode: GeoMode, intake: Intake) -> None:
        self.root, self.mode, self.intake = root, mode, intake
        self.rasterio = None if mode == "no" else find_rasterio()
        if mode == "yes" and self.rasterio is None:
            raise MissingExtraError("reading the tags of GeoTIFFs", "geo", "rasterio")
        self._worlds: dict[str, frozenset[str]] = {}

    def __call__(self, path: str) -> dict[str, Any] | None:
        """``crs`` and ``transform`` of an image, or None where nothing tells them."""
        if self.mode == "no":
            return None
        if self.rasterio is not None and path.lower().endswith(_TIFF):
            found = _tags(self.rasterio, self.root / path)
            if found is not None:
                return found
        return self._world(path)

    def _world(self, path: str) -> dict[str, Any] | None:
        folder, _, name = path.rpartition("/")
        if folder not in self._worlds:
            listed = names_in(self.root / folder, 10**7)
            self._worlds[folder] = frozenset(n for n in listed if n.lower().endswith("w")) | {
                n for n in listed if n.lower().endswith(".wld")
            }
        stem, suffix = split_suffix(name)
        short = f"{suffix[:2]}{suffix[-1:]}w"  # .tif is .tfw, .png is .pgw
        for candidate in (stem + short, f"{stem}{suffix}w", f"{name}w", f"{stem}.wld"):
            if candidate in self._worlds[folder]:
                where = f"{folder}/{candidate}" if folder else candidate
                return self._lines(where)
        return None

    def _lines(self, where: str) -> dict[str, Any] | None:
        try:
            words = (self.root / where).read_text(encoding="latin-1").split()
            a, d, b, e, c, f = (float(w.replace(",", ".")) for w in words)
            if not all(map(math.isfinite, (a, b, c, d, e, f))):
                raise ValueError
        except (OSError, ValueError):
            self.intake.fault("bad-value", where, None, "a world file is six numbers, one a line")
            return None
        return {"crs": None, "transform": [a, b, c - (a + b) / 2, d, e, f - (d + e) / 2]}


def find_rasterio() -> Any:
    """The module, or None where it is not installed."""
    try:
        import rasterio
    except ImportError:
        return None
    return rasterio


@contextmanager
def open_raster(rasterio: Any, path: Path) -> Iterator[Any]:
    """A raster, without rasterio's warning that a picture has no tags.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(path) as raster:
                yield raster
    except rasterio.errors.RasterioError as error:
        raise OSError(str(error)) from error


def _tags(rasterio: Any, path: Path) -> dict[str, Any] | None:
    try:
        with open_raster(rasterio, path) as raster:
            crs, transform = raster.crs, raster.transform
    except (OSError, ValueError):
        return None  # what does not open is told by what reads it
    if crs is None and transform.is_identity:
        return None
    if crs is not None:
        code = crs.to_epsg()
        crs = f"EPSG:{code}" if code is not None else crs.to_wkt()
    return {"crs": crs, "transform": [float(v) for v in transform[:6]]}
