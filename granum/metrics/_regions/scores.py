"""Region scores of many images at many thresholds, gathered in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._regions.counts import (
    ImageFigures,
    histogram,
    image_figures,
    joint_histogram,
    merged_columns,
)

__all__ = ["RegionScores"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class RegionScores:
    """Figures of many images at the same thresholds; the same bits however they were gathered.

    Args:
        thresholds: of the cuts, in order; one number (of any meaning) per cut.
    """

    def __init__(self, thresholds: Sequence[float] = (0.0,)) -> None:
        if not len(thresholds):
            raise UsageError("at least one threshold is needed")
        self.thresholds = tuple(float(t) for t in thresholds)
        self._images: dict[str, ImageFigures] = {}

    def __len__(self) -> int:
        return len(self._images)

    def add(
        self,
        key: str,
        cuts: Iterable[npt.ArrayLike],
        truths: Sequence[npt.ArrayLike],
        *,
        void: int | None = None,
    ) -> None:
        """Count one image.

        Args:
            key: of the image; each counts once.
            cuts: a label image, shape (height, width), per threshold.
            truths: label images of people.
            void: label of the truths that is no region; its pixels are not counted.

        Raises:
            UsageError: shapes, or the number of cuts, do not fit; the key is there; no truth.
        """
        self._add(key, ([joint_histogram(t, c, void) for t in truths] for c in cuts), truths)

    def add_hierarchy(
        self,
        key: str,
        leaves: npt.ArrayLike,
        regions: npt.ArrayLike,
        truths: Sequence[npt.ArrayLike],
        *,
        void: int | None = None,
    ) -> None:
        """Count one image whose cuts are unions of the same leaves: pixels are counted once.

        Args:
            leaves: label image of integers 0..L-1, shape (height, width).
            regions: shape (T, L): the region that each leaf belongs to at each threshold; a
                number that no leaf's pixel has does not matter.

        Raises:
            UsageError: as ``add``.
        """
        flat, table = np.asarray(leaves), np.asarray(regions)
        if table.ndim != 2 or flat.min() < 0 or flat.max() >= table.shape[1]:
            raise UsageError(
                f"leaves must be in 0..L-1 of regions of shape (T, L); they are in "
                f"{flat.min()}..{flat.max()}, and regions has shape {table.shape}"
            )
        columns = flat.ravel().astype(np.int64)
        joints = [histogram(t, flat.shape, columns, table.shape[1], void) for t in truths]
        self._add(key, ([merged_columns(j, row) for j in joints] for row in table), truths)

    def _add(self, key: str, cuts: Iterable[list[Ints]], truths: Sequence[npt.ArrayLike]) -> None:
        if key in self._images:
            raise UsageError(f"the image {key!r} was counted already")
        if not truths:
            raise UsageError(f"the image {key!r} has no truth")
        figures = image_figures(cuts)
        if len(figures.covered) != len(self.thresholds):
            raise UsageError(
                f"{len(figures.covered)} cuts of {key!r} for {len(self.thresholds)} thresholds"
            )
        self._images[key] = figures

    def merge(self, other: RegionScores) -> None:
        """Take over the images of ``other``.

        Raises:
            UsageError: other thresholds, or an image that is in both.
        """
        if other.thresholds != self.thresholds:
            raise UsageError("scores at different thresholds do not merge")
        both = self._images.keys() & other._images.keys()
        if both:
            raise UsageError(f"the image {min(both)!r} was counted twice")
        self._images |= other._images

    def keys(self) -> list[str]:
        """Of the images, in the order in which they are summed up."""
        return sorted(self._images)

    def _stacked(self, digits: int | None) -> dict[str, Floats]:
        """Per figure, shape (images, T) or (images,), in the order of the keys."""
        ordered = [self._images[k] for k in self.keys()]
        names = ("covered", "rand", "information", "reverse", "best", "area", "pixels")
        out = {n: np.array([getattr(f, n) for f in ordered], np.float64) for n in names}
        return out if digits is None else {n: _rounded(v, digits) for n, v in out.items()}

    def summary(self, digits: int | None = None) -> dict[str, float | None]:
        """The numbers of all images; None where none was counted.

        Args:
            digits: significant digits that the figures of an image are rounded to before they are
                summed up (the authors' code: 6).
        """
        return self.summaries(digits)(np.ones(len(self), np.int64))

    def summaries(self, digits: int | None = None) -> Callable[[Ints], dict[str, float | None]]:
        """Gives the numbers again, of weights of shape (images,): how often each image counts."""
        figures = self._stacked(digits) if self._images else {}

        def summary(weights: Ints) -> dict[str, float | None]:
            used = np.flatnonzero(weights)
            if not len(used):
                return dict.fromkeys(_SUMMARY)
            often = weights[used]
            return self._summary({n: v[used] for n, v in figures.items()}, often)

        return summary

    def _summary(self, all_: dict[str, Floats], often: Ints) -> dict[str, float | None]:
        n, curve = int(often.sum()), self._curve(all_, often)
        cover, rand, information = (curve[n] for n in ("covering", "pri", "vi"))
        at = int(cover.argmax()), int(rand.argmax()), int(information.argmin())
        total = (all_["area"] * often).sum()
        numbers = (
            cover[at[0]],
            self.thresholds[at[0]],
            (all_["covered"].max(axis=1) * often).sum() / total,
            (all_["best"] * often).sum() / total,
            rand[at[1]],
            self.thresholds[at[1]],
            (all_["rand"].max(axis=1) * often).sum() / n,
            information[at[2]],
            self.thresholds[at[2]],
            (all_["information"].min(axis=1) * often).sum() / n,
        )
        return {name: float(v) for name, v in zip(_SUMMARY, numbers, strict=True)}

    def _curve(self, figures: dict[str, Floats], often: Ints) -> dict[str, Floats]:
        n, each = int(often.sum()), often[:, None]
        return {
            "covering": (figures["covered"] * each).sum(axis=0) / (figures["area"] * often).sum(),
            "pri": (figures["rand"] * each).sum(axis=0) / n,
            "vi": (figures["information"] * each).sum(axis=0) / n,
        }

    def curve(self, digits: int | None = None) -> pa.Table:
        """``threshold``, ``covering``, ``pri``, ``vi``: of all images at each threshold."""
        if not self._images:
            return pa.table({n: pa.array([], pa.float64()) for n in ("threshold", *_CURVE)})
        found = self._curve(self._stacked(digits), np.ones(len(self), np.int64))
        return pa.table({"threshold": pa.array(self.thresholds), **found})

    def images(self, digits: int | None = None) -> pa.Table:
        """Per image, by key: covering, PRI and VI at its own best thresholds.

        ``reverse`` is the covering of the cut's regions by people's, at the threshold that is best
        for ``covering``.
        """
        figures = self._stacked(digits)
        keys = self.keys()
        if not keys:
            return pa.table({"key": pa.array([], pa.string())})
        cover = figures["covered"] / figures["area"][:, None]
        best = cover.argmax(axis=1)
        each = np.arange(len(keys))
        return pa.table(
            {
                "key": keys,
                "threshold": np.asarray(self.thresholds)[best],
                "covering": cover[each, best],
                "covering_best": figures["best"] / figures["area"],
                "reverse": figures["reverse"][each, best] / figures["pixels"],
                "pri": figures["rand"].max(axis=1),
                "vi": figures["information"].min(axis=1),
            }
        )


_CURVE = ("covering", "pri", "vi")
_SUMMARY = (
    "covering_ods",
    "covering_ods_threshold",
    "covering_ois",
    "covering_best",
    "pri_ods",
    "pri_ods_threshold",
    "pri_ois",
    "vi_ods",
    "vi_ods_threshold",
    "vi_ois",
)


def _rounded(values: Floats, digits: int) -> Floats:
    texts = [f"{v:.{digits}g}" for v in values.ravel().tolist()]
    return np.array(texts, np.float64).reshape(values.shape)
