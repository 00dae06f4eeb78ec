"""ROxford and RParis (revisited), and the pixel retrieval labels of PROxford and PRParis.

::

    roxford5k/gnd_roxford5k.pkl    roxford5k/jpg/all_souls_000013.jpg
    rparis6k/gnd_rparis6k.pkl      rparis6k/jpg/…
    oxford_pair2labelpath.npy      {"q_i": path of a LabelMe JSON file}, optional
    revisitop1m/revisitop1m.txt    revisitop1m/jpg/…    (distractors; names with their suffix)

The pickle holds ``imlist`` and ``qimlist`` (names without suffix) and, for each query, ``gnd``:
``bbx``, the crop of the query in pixels (x1, y1, x2, y2), and ``easy``, ``hard`` and ``junk``,
positions in ``imlist`` from 0. It is read without running anything.

Images of the collection are samples with the role ``database``, queries samples with the role
``query`` and the key ``query/NAME``, their crop an object. A relevant pair is a relation from the
query's crop to a label of the image, named ``easy``, ``hard`` or ``junk``. Where pixel labels are
given, the polygons of a pair are an object on the image, and the relation leads to it. The
protocols (Easy, Medium, Hard) belong to the evaluation.

Spec: https://github.com/filipradenovic/revisitop, http://cmp.felk.cvut.cz/revisitop/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from granum.errors import FormatError, GranumError
from granum.loaders._json_files import bad_values, entries, load_json, numbers
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._pickles import load_npy, load_pickle
from granum.loaders._rows import box_of
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows
from granum.store.out import safe_relative

__all__ = ["RevisitOp"]

RELEVANCE = ("easy", "hard", "junk")


@formats("revisitop")
class RevisitOp(Format):
    """Reads the ground truth of both collections, and the distractors."""

    name = "revisitop"
    title = "ROxford, RParis; PROxford, PRParis"
    spec = "https://github.com/filipradenovic/revisitop"
    keeps = frozenset(
        {"sample", "object", "label", "relation", "category", "bbox", "mask", "group", "space"}
    )

    def sniff(self, root: Path) -> str | None:
        found = _collections(root)
        return f"{found[0][0].name}: the ground truth of a collection" if found else None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a collection, or all below a folder.

        Raises:
            FormatError: there is none, or a pickle that is damaged or names anything but arrays.
        """
        found = _collections(root)
        if not found:
            raise FormatError(root, "no gnd_….pkl")
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        numbers = iter(range(1, 2**62))
        for path, before in found:
            intake.source(path.relative_to(folder).as_posix(), self.name)
            yield from _Collection(path, before, folder, intake, numbers).samples()
        yield from _distractors(folder, intake)


def _collections(root: Path) -> list[tuple[Path, str]]:
    """Pickles, and the folder of each below the root. Never raises."""

    def listed(folder: Path, before: str) -> list[tuple[Path, str]]:
        return [
            (folder / n, before)
            for n in names_in(folder)
            if n.startswith("gnd_") and n.endswith(".pkl")
        ]

    if is_file(root):
        good = root.name.startswith("gnd_") and root.suffix == ".pkl"
        return [(root, "")] if good else []
    here = listed(root, "")
    return here or [p for f in folders_in(root, 50) for p in listed(root / f, f"{f}/")]


def _distractors(folder: Path, intake: Intake) -> Iterator[rows.Sample]:
    """The names of ``revisitop1m.txt``."""
    path = folder / "revisitop1m" / "revisitop1m.txt"
    if not is_file(path):
        return
    intake.source("revisitop1m/revisitop1m.txt", RevisitOp.name)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if name := line.strip():
                key = f"revisitop1m/jpg/{name}"
                yield rows.Sample(key, rows.Media(path=key), role="distractor")


class _Collection:
    """One collection.

    Args:
        path: of the pickle.
        before: what comes before ``jpg`` in the paths of its images.
        folder: what findings are relative to.
        intake: gets findings and categories.
        numbers: ids of annotations.
    """

    def __init__(
        self, path: Path, before: str, folder: Path, intake: Intake, numbers: Iterator[int]
    ) -> None:
        self.before, self.folder, self.intake, self.numbers = before, folder, intake, numbers
        self.where = path.relative_to(folder).as_posix()
        held = load_pickle(path, self.where)
        if not isinstance(held, dict):
            raise FormatError(self.where, "no dictionary")
        self.images, self.queries = (self._names(held, n) for n in ("imlist", "qimlist"))
        self.truth = held.get("gnd")
        if not isinstance(self.truth, list) or len(self.truth) != len(self.queries):
            raise FormatError(self.where, "not one entry of gnd for each query")
        self.pixels = self._pixel_labels(path)

    def _names(self, held: dict[Any, Any], key: str) -> list[str]:
        listed = held.get(key)
        names = listed.tolist() if isinstance(listed, np.ndarray) else listed
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            raise FormatError(self.where, f"{key} is no list of names", key)
        if len({*names}) != len(names):
            raise FormatError(self.where, "a name stands there twice", key)
        return names

    def _pixel_labels(self, path: Path) -> dict[tuple[int, int], str]:
        """Paths of LabelMe files by query and image."""
        town = "oxford" if "oxford" in path.name else "paris"
        name = f"{town}_pair2labelpath.npy"
        places = (path.parent / name, self.folder / name)
        found = next((p for p in places if is_file(p)), None)
        if found is None:
            return {}
        held = load_npy(found)
        table = held.item() if held.shape == () else None
        if not isinstance(table, dict):
            raise FormatError(name, "no dictionary of pairs")
        out = {}
        for pair, label in table.items():
            parts = str(pair).split("_")
            if len(parts) != 2 or not all(p.isdecimal() for p in parts):
                self.intake.fault("bad-value", name, str(pair), "not the numbers of a pair")
                continue
            out[int(parts[0]), int(parts[1])] = str(label)
        return out

    def samples(self) -> Iterator[rows.Sample]:
        """Queries, then the images of the collection."""
        of_image: dict[int, list[rows.Annotation]] = {}
        for q, name in enumerate(self.queries):
            key = f"{self.before}jpg/{name}.jpg"
            place = f"gnd[{q}]"
            query = rows.Sample(f"{self.before}query/{name}", rows.Media(path=key), role="query")
            query.source_id = name
            entry = self.truth[q] if isinstance(self.truth, list) else None
            if not isinstance(entry, dict):
                self.intake.fault("bad-value", self.where, place, "no entry of a query")
                yield query
                continue
            crop = rows.Annotation("object", annotation_id=next(self.numbers))
            crop.bbox = self._crop(entry.get("bbx"), place)
            query.annotations = [crop]
            for relevance in RELEVANCE:
                query.annotations += self._pairs(q, entry, relevance, crop, of_image)
            yield query
        for i, name in enumerate(self.images):
            key = f"{self.before}jpg/{name}.jpg"
            sample = rows.Sample(key, rows.Media(path=key), role="database", source_id=name)
            sample.annotations = of_image.get(i, [])
            yield sample

    def _crop(self, box: Any, place: str) -> tuple[float, float, float, float] | None:
        try:
            x1, y1, x2, y2 = (float(v) for v in box)
        except (TypeError, ValueError):
            self.intake.fault("bad-value", self.where, f"{place}.bbx", f"no box: {box!r}")
            return None
        return box_of((x1, y1, x2, y2))

    def _pairs(
        self,
        q: int,
        entry: dict[str, Any],
        relevance: str,
        crop: rows.Annotation,
        of_image: dict[int, list[rows.Annotation]],
    ) -> list[rows.Annotation]:
        """Relations of a query to images of one relevance; their other ends go to ``of_image``."""
        listed = entry.get(relevance)
        place = f"gnd[{q}].{relevance}"
        try:
            found = np.asarray([] if listed is None else listed).ravel()
            positions = [int(v) for v in found.tolist()]
        except (TypeError, ValueError):
            self.intake.fault("bad-value", self.where, place, "no list of positions")
            return []
        out = []
        category = self.intake.category(relevance, "relevance")
        for i in positions:
            if not 0 <= i < len(self.images):
                self.intake.fault("orphan-image", self.where, place, f"there is no image {i}")
                continue
            end = self._end(q, i)
            end.annotation_id = next(self.numbers)
            of_image.setdefault(i, []).append(end)
            relation = rows.Annotation("relation", category, annotation_id=next(self.numbers))
            relation.subject, relation.object = crop.annotation_id, end.annotation_id
            out.append(relation)
        return out

    def _end(self, q: int, i: int) -> rows.Annotation:
        """What a pair leads to on the image: the labelled pixels, or the whole image."""
        name = self.pixels.get((q, i))
        instance = self.intake.category(self.queries[q], "query")
        if name is None:
            return rows.Annotation("label", instance)
        try:
            relative = safe_relative(name, self.where)
        except GranumError as error:
            self.intake.fault("bad-value", self.where, f"pair {q}_{i}", str(error))
            return rows.Annotation("label", instance)
        path = next(
            (
                p
                for p in (self.folder / relative, self.folder / self.before / relative)
                if is_file(p)
            ),
            None,
        )
        if path is None:
            self.intake.fault("missing-labels", str(relative), None, f"of the pair {q}_{i}")
            return rows.Annotation("label", instance)
        polygons = self._polygons(load_json(path, str(relative)), relative)
        return rows.Annotation("object", instance, polygons=polygons)

    def _polygons(self, record: Any, where: PurePosixPath) -> list[list[list[float]]] | None:
        """The polygons of a LabelMe file, which are parts of one thing."""
        parts = []
        told = record if isinstance(record, dict) else {}
        if told.get("shapes") is None:
            self.intake.fault("missing-key", str(where), "/shapes", "no list of shapes")
        for place, shape in entries(told, "shapes", self.intake, str(where)):
            with bad_values(self.intake, str(where), place):
                parts.append([[v for point in shape["points"] for v in numbers(point, 2)]])
        return parts or None
