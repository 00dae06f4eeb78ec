"""The suite passes what is right and catches what it is there to catch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from granum.errors import LossError
from granum.loaders.base import Intake, formats
from granum.loaders.writing import account, write_dataset
from granum.schema import rows
from granum.schema.losses import NAMES
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch
from granum.testing import FormatSuite, keep, small_datasets
from granum.testing.suite import Keeps
from tests.toys import ToyBoxes, ToyFull


class TestToyFull(FormatSuite):
    name = "toy_full"
    least = (Keeps(NAMES, ("object", "caption", "label")),)

    @pytest.fixture(autouse=True)
    def _registered(self, only_toys):
        only_toys(ToyFull)

    def check(self, *args, **others):
        assert super().check(*args, **others), "the toy that keeps everything refused"
        return True


class TestToyBoxes(FormatSuite):
    name = "toy_boxes"
    least = (Keeps({"bbox", "category"}),)

    @pytest.fixture(autouse=True)
    def _registered(self, only_toys):
        only_toys(ToyBoxes)

    def test_refuses_what_it_cannot_hold(self, tmp_path):
        made = small_datasets()
        for name in ("box", "boxes in order", "empty sample", "unused category", "same stem"):
            assert self.check(made[name], tmp_path), name
        for name in ("polygon", "score 0.0", "caption", "splits", "relative", "no category"):
            assert not self.check(made[name], tmp_path), name

    def test_takes_options(self, tmp_path):
        exact = small_datasets()["exact box"]
        assert self.check(exact, tmp_path)
        assert not self.check(exact, tmp_path, digits=1)


# Mutants: each is the toy with one of the faults that converters have.


def changed(annotation: rows.Annotation, **values: Any) -> rows.Annotation:
    return replace(annotation, **values)


def swapped_sides(a):
    return changed(a, bbox=a.bbox and (a.bbox[0], a.bbox[1], a.bbox[3], a.bbox[2]))


def corners(a):
    return changed(a, bbox=a.bbox and (*a.bbox[:2], a.bbox[0] + a.bbox[2], a.bbox[1] + a.bbox[3]))


def two_decimals(a):
    return changed(a, bbox=a.bbox and tuple(round(v, 2) for v in a.bbox))


def whole_numbers(a):
    return changed(a, bbox=a.bbox and tuple(float(int(v)) for v in a.bbox))


def first_polygon(a):
    return changed(a, polygons=a.polygons and a.polygons[:1])


def filled_holes(a):
    return changed(a, polygons=a.polygons and [part[:1] for part in a.polygons])


def no_false(a):
    return changed(a, **{n: None for n in ("present", "crowd") if getattr(a, n) is False})


def false_for_none(a):
    return changed(a, occluded=bool(a.occluded))


def seen_points(a):
    points = a.keypoints
    return changed(
        a, keypoints=points and [2.0 if i % 3 == 2 and v else v for i, v in enumerate(points)]
    )


def other_way(a):
    return changed(a, subject=a.object, object=a.subject)


def texts(a):
    values = a.attributes
    return changed(a, attributes=values and {n: str(v) for n, v in values.items()})


def without(name, falsy=False):
    def change(a):
        return changed(a, **{name: None}) if not falsy or not getattr(a, name) else a

    return change


ANNOTATIONS = {
    "width and height swapped": ("box", swapped_sides),
    "corners for sizes": ("box", corners),
    "two decimals": ("exact box", two_decimals),
    "whole numbers": ("exact box", whole_numbers),
    "first polygon only": ("two parts", first_polygon),
    "holes filled": ("hole", filled_holes),
    "score 0 dropped": ("score 0.0", without("score", falsy=True)),
    "score dropped": ("score 1.0", without("score")),
    "false flags dropped": ("crowd False", no_false),
    "negative labels dropped": ("negative label", no_false),
    "false for not stated": ("box", false_for_none),
    "track 0 dropped": ("track", without("track", falsy=True)),
    "text stripped": ("text ", lambda a: changed(a, text=a.text or None)),
    "all points seen": ("keypoints", seen_points),
    "relation turned round": ("relation", other_way),
    "parent dropped": ("parent", without("parent")),
    "attributes as text": ("attributes", texts),
    "unknown keys dropped": ("unknown keys", without("extra")),
    "RLE form dropped": (
        "rle list",
        lambda a: changed(a, rle=a.rle and replace(a.rle, form="compressed")),
    ),
    "wrong category": ("boxes in order", lambda a: changed(a, category=0)),
    "negative ids": ("relation", lambda a: changed(a, subject=a.object)),
    "captions left out": ("caption", lambda a: None if a.kind == "caption" else a),
    "kind changed": ("label", lambda a: changed(a, kind="object")),
    "exact number rounded": (
        "score 0.12345678901234568",
        lambda a: changed(a, score=a.score and round(a.score, 6)),
    ),
}

SAMPLES = {
    "empty sample dropped": ("empty sample", lambda s: s if s.annotations else None),
    "split dropped": ("splits", lambda s: replace(s, split=None)),
    "split invented": ("split and none", lambda s: replace(s, split=s.split or "train")),
    "folders dropped": ("unicode key", lambda s: replace(s, key=Path(s.key).name)),
    "order turned round": (
        "boxes in order",
        lambda s: replace(s, annotations=s.annotations[::-1]),
    ),
    "layers dropped": ("layers", lambda s: replace(s, layers={})),
    "fractions as pixels": ("relative", lambda s: replace(s, unit="pixel")),
    "group left": ("video", lambda s: replace(s, group=None)),
    "order 0 dropped": ("video", lambda s: replace(s, order=s.order or None)),
    "seconds only": ("time", lambda s: replace(s, time=s.time and s.time.replace(microsecond=0))),
    "annotation left out": (
        "same box twice",
        lambda s: replace(s, annotations=s.annotations[:1]),
    ),
    "size dropped": ("box", lambda s: replace(s, width=None)),
}

CATEGORIES = {
    "supercategory dropped": ("supercategory", lambda c: replace(c, supercategory=None)),
    "false isthing dropped": ("isthing", lambda c: replace(c, isthing=c.isthing or None)),
    "skeleton from 1": (
        "keypoints",
        lambda c: replace(c, skeleton=c.skeleton and [[i + 1, j + 1] for i, j in c.skeleton]),
    ),
    "spaces mixed": ("label spaces", lambda c: replace(c, space="object")),
    "hierarchy dropped": ("is a", lambda c: replace(c, parents=None)),
    "part of as is a": (
        "part of",
        lambda c: replace(c, parents=c.parents and [{**p, "relation": "is_a"} for p in c.parents]),
    ),
    "name stripped": ("odd category names", lambda c: replace(c, name=c.name.split(",")[0])),
}


class SourceIdsLost(ToyFull):
    """Says that it keeps records, but not their ids."""

    def annotation(self, annotation):
        return changed(annotation, source_id=None)


class UnusedLost(ToyFull):
    """Categories that no annotation has are left out."""

    def write(self, dataset, out):
        used = [
            n for n, k in zip(dataset.category_names(), dataset.counts().values(), strict=True) if k
        ]
        super().write(dataset.select_categories(used), out)


class GroupRowsLost(ToyFull):
    def listed(self, dataset, layer):
        return [a for a in super().listed(dataset, layer) if a.sample is not None]


class Liar(ToyFull):
    """The account says that scores are lost, but they are there."""

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        self.whole = dataset
        return Batch(
            batch.samples,
            batch.annotations.drop_columns(
                [n for n in ("score",) if n in batch.annotations.column_names]
            ),
            batch.start,
        )

    def write(self, dataset: Dataset, out: Out) -> None:
        super().write(self.whole, out)


class Meddler(ToyFull):
    """Changes the dataset that it writes."""

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        dataset.categories = dataset.categories.slice(0, 0)
        return batch


class Litterer(ToyFull):
    """Leaves a file beside its target."""

    def write(self, dataset: Dataset, out: Out) -> None:
        super().write(dataset, out)
        (out.root.parent / "cache").write_text("")


class Claimer(ToyFull):
    """Recognises everything."""

    def sniff(self, root: Path) -> str | None:
        return "why not"


class Stumbler(ToyFull):
    """Asks the file system without expecting an answer."""

    def sniff(self, root: Path) -> str | None:
        return "lines" if root.stat().st_size and (root / "toy.jsonl").exists() else None


class Crasher(ToyFull):
    """Trusts its input."""

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        for sample in super().read(root, intake):
            for annotation in sample.annotations:
                if annotation.bbox is not None and annotation.bbox[2] > 1e6:
                    raise IndexError("list index out of range")
            yield sample

    def parsed(self, text, intake):
        try:
            return super().parsed(text, intake)
        except ValueError as error:
            raise KeyError("images") from error


class Optimist(ToyFull):
    """Refuses everything."""

    keeps = frozenset()


OTHERS = {
    "source ids dropped": (SourceIdsLost, "test_refuses_or_keeps", "source_id 0"),
    "unused category dropped": (UnusedLost, "test_refuses_or_keeps", "unused category"),
    "whole groups' rows dropped": (GroupRowsLost, "test_refuses_or_keeps", "video"),
    "the account lies": (Liar, "test_refuses_or_keeps", "score 0.0"),
    "the dataset is changed": (Meddler, "test_refuses_or_keeps", "box"),
    "a file is left beside": (Litterer, "test_refuses_or_keeps", "box"),
    "everything is recognised": (Claimer, "test_sniffs_no_junk", "empty folder"),
    "sniffing raises": (Stumbler, "test_sniffs_no_junk", "nothing there"),
    "sniffing raises on names": (Stumbler, "test_sniffs_no_junk", "huge name"),
    "bad input crashes": (Crasher, "test_malformed_files_are_told", "other values"),
    "everything is refused": (Optimist, "test_keeps_the_least", None),
}


def mutant(hook: str, change: Any) -> type[ToyFull]:
    return type("Mutant", (ToyFull,), {hook: lambda self, row: change(row)})


MUTANTS: dict[str, tuple[type[ToyFull], str, str | None]] = {
    **{
        f"{name} ({hook})": (mutant(hook, change), "test_refuses_or_keeps", what)
        for hook, table in (
            ("annotation", ANNOTATIONS),
            ("sample", SAMPLES),
            ("category", CATEGORIES),
        )
        for name, (what, change) in table.items()
    },
    **OTHERS,
}


class Suite(FormatSuite):
    """Not collected: run by hand on mutants."""

    __test__ = False
    name = "toy_full"
    least = (Keeps({"bbox", "category", "split"}),)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(only_toys, tmp_path, name):
    format_, test, what = MUTANTS[name]
    only_toys(format_)
    run = getattr(Suite(), test)
    with pytest.raises(Exception) as caught:
        run(tmp_path, what) if what else run(tmp_path)
    if test != "test_sniffs_no_junk":
        assert caught.type is AssertionError


def test_writing_despite_refusing_is_caught(only_toys, tmp_path, monkeypatch):
    only_toys(ToyBoxes)

    def careless(dataset, target, to, *, allow_loss, **others):
        report = write_dataset(dataset, target, to, allow_loss=["all"], **others)
        if report.refused(allow_loss):
            raise LossError(report, report.refused(allow_loss))
        return report

    monkeypatch.setattr(keep, "write_dataset", careless)
    with pytest.raises(AssertionError, match="it refused, but left"):
        keep.refuse_or_keep("toy_boxes", small_datasets()["score 0.0"], tmp_path)


def test_accounts_that_do_not_add_up_are_caught(only_toys, tmp_path, monkeypatch):
    only_toys(ToyBoxes)

    def generous(dataset, target, to, **others):
        report = write_dataset(dataset, target, to, **others)
        for row in report.rows:
            row.kept += 1
        return report

    monkeypatch.setattr(keep, "write_dataset", generous)
    with pytest.raises(AssertionError, match="does not add up"):
        keep.refuse_or_keep("toy_boxes", small_datasets()["box"], tmp_path)


def test_every_mutant_writes_other_than_the_toy(only_toys):
    """A mutant that changes nothing would prove nothing."""
    assert len(MUTANTS) >= 50
    only_toys(ToyFull)
    assert not account(small_datasets()["box"], formats["toy_full"](), {}).lost_names()
    assert len({f for f, _, _ in itertools.islice(MUTANTS.values(), 43)}) == 43
