"""What images are compared by: hashes and thumbnails of the samples of one or more datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.base import Scorer, scorers
from granum.curate.hamming import distance
from granum.errors import UsageError
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["Criteria", "Fingerprints", "Near"]

Near = Literal["phash", "dhash", "both"]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

FLAT = 2.0
"""Thumbnails whose grey values deviate less than this hold nothing to correlate."""

BLOCK = 8192
"""Pairs of thumbnails at a time (64 MiB)."""


@dataclass(frozen=True)
class Criteria:
    """When two samples show the same image.

    Attributes:
        exact: ``file``: equal bytes; ``pixels``: equal decoded pixels, shape and mode.
        near: the hash that finds candidates; ``both``: pHash, and dHash must be as near.
        radius: bits that hashes may differ in.
        similarity: normalised cross-correlation that 32 x 32 grey thumbnails must reach; None:
            not verified.
        flips: mirrored images are the same, too.
    """

    exact: tuple[str, ...] = ("file", "pixels")
    near: Near | None = "phash"
    radius: int = 6
    similarity: float | None = 0.95
    flips: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.exact) - {"file", "pixels"}:
            raise UsageError(f"exact is {sorted(unknown)}; it may hold: file, pixels")
        if self.near not in (None, "phash", "dhash", "both"):
            raise UsageError(f"near is {self.near!r}; it must be phash, dhash, both or None")
        if not self.exact and self.near is None:
            raise UsageError("neither exact nor near duplicates are asked for")
        if not 0 <= self.radius <= 64:
            raise UsageError(f"the radius must be 0..64 bits, not {self.radius}")
        if self.flips and self.near not in ("phash", None):
            raise UsageError("flips need near='phash': mirrored images have no dHash column")

    @property
    def hash(self) -> str:
        """The column that finds candidates."""
        return "dhash" if self.near == "dhash" else "phash"

    def scorers(self) -> list[Scorer]:
        """What makes the columns that are compared."""
        names = {"file": "file_hash", "pixels": "pixel_hash"}
        wanted = [names[e] for e in self.exact]
        if self.near is not None:
            wanted += ["phash", "dhash"] if self.near == "both" else [self.near]
            wanted += ["thumbnail"] if self.similarity is not None else []
        made: list[Scorer] = [scorers[n]() for n in wanted]
        if self.near is not None and self.flips:
            made.append(scorers["phash"](mirrored=True))  # type: ignore[call-arg]
        return made

    def columns(self) -> list[str]:
        return [n for s in self.scorers() for n in s.given()]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "exact": list(self.exact)}


@dataclass
class Fingerprints:
    """Columns of the samples of the datasets, one dataset after the other.

    Attributes:
        file, pixels: equal numbers mean equal hashes; -1 where there is none.
        hashes, second, mirrored: perceptual hashes; ``hashed`` tells where they are known.
    """

    criteria: Criteria
    file: Ints
    pixels: Ints
    hashes: Hashes
    second: Hashes | None
    mirrored: Hashes | None
    hashed: npt.NDArray[np.bool_]
    thumbnails: list[npt.NDArray[np.uint8]] = field(default_factory=list)

    @classmethod
    def of(cls, datasets: Sequence[Dataset], criteria: Criteria) -> Fingerprints:
        """Of datasets whose columns are computed."""
        count = sum(len(d) for d in datasets)
        there = {n: c.type for s in criteria.scorers() for n, c in s.given().items()}

        def values(name: str) -> pa.ChunkedArray:
            tables = [p.samples() for d in datasets for p in d.parts]
            chunks = [c for t in tables for c in column(t, f"col.{name}").chunks]
            return pa.chunked_array(chunks, there[name])

        def codes(name: str) -> Ints:
            if name not in there:
                return np.full(count, -1, np.int64)
            encoded = values(name).dictionary_encode().unify_dictionaries()
            chunks = [np.asarray(c.indices.fill_null(-1), np.int64) for c in encoded.chunks]
            return np.concatenate([*chunks, np.empty(0, np.int64)])

        def numbers(name: str) -> Hashes:
            return np.asarray(values(name).fill_null(0), np.uint64)

        known = np.zeros(count, bool)
        if criteria.near is not None:
            known = np.asarray(values(criteria.hash).is_valid())
        found = cls(
            criteria,
            codes("file_hash"),
            codes("pixel_hash"),
            numbers(criteria.hash) if criteria.hash in there else np.zeros(count, np.uint64),
            numbers("dhash") if criteria.near == "both" else None,
            numbers("phash_mirrored") if "phash_mirrored" in there else None,
            known,
        )
        if "thumbnail" in there:
            found.thumbnails = [_bytes(c) for c in values("thumbnail").chunks]
        return found

    def only(self, rows: npt.NDArray[np.bool_]) -> Fingerprints:
        """As if the other rows had no fingerprints."""
        return Fingerprints(
            self.criteria,
            np.where(rows, self.file, -1),
            np.where(rows, self.pixels, -1),
            self.hashes,
            self.second,
            self.mirrored,
            self.hashed & rows,
            self.thumbnails,
        )

    def exact_classes(self) -> Ints:
        """Rows with an equal number (>= 0) are the same by their bytes or pixels. Equal bytes
        decode to equal pixels, so the file's hash counts only where nothing decodes."""
        most = int(self.pixels.max(initial=-1)) + 1
        by_file = np.where(self.file >= 0, self.file + most, -1)
        return np.where(self.pixels >= 0, self.pixels, by_file)

    def bits(self, i: Ints, j: Ints) -> Ints:
        """How many bits the hashes of rows differ in, the nearer of both ways if mirrored."""
        straight = distance(self.hashes[i], self.hashes[j])
        if self.mirrored is not None:
            straight = np.minimum(straight, distance(self.hashes[i], self.mirrored[j]))
        return straight.astype(np.int64)

    def agree(self, i: Ints, j: Ints) -> npt.NDArray[np.bool_]:
        """Whether pairs of rows whose hashes are near pass what else is asked."""
        passed = np.ones(len(i), bool)
        if self.second is not None:
            passed &= distance(self.second[i], self.second[j]) <= self.criteria.radius
        if self.criteria.similarity is not None:
            some = np.flatnonzero(passed)
            passed[some] = self.similarity(i[some], j[some]) >= self.criteria.similarity
        return passed

    def similarity(self, i: Ints, j: Ints) -> Floats:
        """Normalised cross-correlation of the thumbnails of pairs of rows. Flat ones hold nothing
        to correlate: 1 where both are and their means differ by at most 2, else 0."""
        out = np.empty(len(i), np.float32)
        for at in range(0, len(i), BLOCK):
            cut = slice(at, at + BLOCK)
            a, b = self._grey(i[cut]), self._grey(j[cut])
            out[cut] = _correlation(a, b)
            if self.criteria.flips:
                mirrored = b.reshape(-1, 32, 32)[:, :, ::-1].reshape(-1, 1024)
                out[cut] = np.maximum(out[cut], _correlation(a, mirrored))
        return out

    def _grey(self, rows: Ints) -> Floats:
        out = np.empty((len(rows), 1024), np.float32)
        ends = np.cumsum([len(t) for t in self.thumbnails])
        owner = np.searchsorted(ends, rows, side="right")
        for k in np.unique(owner):
            here = owner == k
            out[here] = self.thumbnails[k][rows[here] - (ends[k - 1] if k else 0)]
        return out


def _bytes(chunk: pa.Array) -> npt.NDArray[np.uint8]:
    """The values of a chunk, shape (rows, 1024), without a copy; anything where null."""
    width = chunk.type.byte_width
    whole = np.frombuffer(chunk.buffers()[1], np.uint8)
    return whole[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(-1, width)


def _correlation(a: Floats, b: Floats) -> Floats:
    means = a.mean(1), b.mean(1)
    a, b = a - means[0][:, None], b - means[1][:, None]
    spread = np.sqrt(np.square(a).mean(1)), np.sqrt(np.square(b).mean(1))
    flat = np.minimum(*spread) < FLAT
    product = np.where(flat, 1, spread[0] * spread[1])
    alike = (np.maximum(*spread) < FLAT) & (np.abs(means[0] - means[1]) <= FLAT)
    found: Floats = np.where(flat, alike, (a * b).mean(1) / product).astype(np.float32)
    return found
