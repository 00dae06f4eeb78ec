"""The report: every section where its data are, pictures that can be read, nothing fetched."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from granum import cli
from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.curate.duplicates import duplicates
from granum.curate.grade import grade
from granum.curate.leakage import leakage
from granum.curate.score import score
from granum.curate.selection import select
from granum.errors import ExistsError, FormatError, UnknownNameError, UsageError
from granum.metrics.base import Result
from granum.schema import tables
from granum.schema.rows import (
    Annotation,
    Category,
    Group,
    LabelMap,
    Media,
    Sample,
    objects_to_table,
)
from granum.store import view as store_view
from granum.store.additions import add_layer
from granum.store.columns import NewColumn, add_columns
from granum.store.dataset import Dataset, Meta
from granum.synthetic import generate
from granum.synthetic.faults import Planted, plant
from granum.verbs._report_album import Album
from granum.verbs._report_asked import Asked
from granum.verbs._report_distributions import measured
from granum.verbs._report_evaluation import best
from granum.verbs._report_gallery import _groups, spread
from granum.verbs._report_scores import scalar_columns
from granum.verbs.report import SECTIONS, report
from tests.browse.browser import Browser, missing
from tests.data import shared

PER_CLASS = {"category": ["car", "person"], "AP": [0.75, 0.5]}


class Text(HTMLParser):
    """Words and links of a page, by section; tags must close in order."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.links: list[str] = []
        self.pictures = 0
        self._open: list[str] = []
        self._title = ""
        self.feed(page.read_text("utf-8"))
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        self.pictures += tag == "img"
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] == "h2":
            self._title = data
            self.sections[data] = ""
        elif self._title:
            self.sections[self._title] += f"{data}\n"


def encoded(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def noise(seed: int, size: tuple[int, int] = (32, 24)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return encoded(Image.fromarray(values))


def box(x: float, y: float, w: float, h: float, **more: Any) -> Annotation:
    return Annotation(category=0, bbox=(x, y, w, h), **more)


def small(n: int = 6, **more: Any) -> Dataset:
    """Embedded noise with a box each, half of it for training."""
    samples = [
        Sample(
            f"s{i}.png",
            media=Media(bytes=noise(i)),
            width=32,
            height=24,
            split="train" if i % 2 else "val",
            annotations=[box(4, 4, 8 + i, 6)],
        )
        for i in range(n)
    ]
    return Dataset.from_rows(samples, [Category("thing")], **more)


def with_column(dataset: Dataset, name: str, values: list[Any], **facts: Any) -> Dataset:
    column = pa.array(values)
    return add_columns(
        dataset,
        [NewColumn(name, facts=facts)],
        lambda batch, _, names: {name: column.slice(batch.start, batch.samples.num_rows)},
    )


# ------------------------------------------------------------------ the whole


def quarters(size: tuple[int, int]) -> MaskTree:
    """Four leaves, halves above them, the whole image."""
    leaves = np.zeros(size, np.int64)
    leaves[size[0] // 2 :] += 2
    leaves[:, size[1] // 2 :] += 1
    return MaskTree.partition(leaves, [4, 4, 5, 5, 6, 6, -1])


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    log: list[dict[str, Any]] = [{"step": i, "loss": 2.0 / (i + 1)} for i in range(40)]
    log += [{"validation": {"step": s, "loss": 0.5, "values": {"AP": 0.1 * s}}} for s in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    record = {
        "name": "small-run",
        "hook": {"name": "detector", "parameters": {"width": 16}},
        "config": {"steps": 40, "batch_size": 4, "decoder": "auto"},
        "steps": 40,
        "best": {"step": 2, "loss": 0.5, "values": {"AP": 0.2}},
        "seconds": 1.25,
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


class Whole:
    """A generated store with everything a report may show, and its page."""

    def __init__(self, root: Path) -> None:
        made = generate(
            root / "images", seed=1, scenes=12, frames=4, pairs=2, textures=4, size=(128, 96)
        )
        self.ledger: list[Planted] = plant(made)
        store = Dataset.from_rows(
            made.samples,
            made.categories,
            made.groups,
            group_annotations=made.group_annotations,
            media_root=made.root.resolve(),
        ).save(root / "all.granum")
        store = score(store, ["brightness", "sharpness", "descriptors"])
        found = duplicates(store)
        store = found.selection.save(found.dataset, "unique")
        self.leaks = leakage(store)
        store = select(self.leaks.dataset, "k_center:space=descriptors", 6).save(store, "varied")
        store = self._with_layers(store)
        self.store = with_column(
            store, "loss.small-run", [float(i) for i in range(len(store))], meaning="loss"
        )
        self.evaluation = Result(
            "coco-bbox",
            {"AP": 0.625, "APl": None},
            per_class=pa.table(PER_CLASS),
            curves={"pro": pa.table({"fpr": [0.0, 0.1, 0.3], "pro": [0.0, 0.7, 0.9]})},
            facts={"prediction_layer": "model", "truth_layer": "truth"},
        )
        self.page = root / "page.html"
        self.facts = report(
            self.store,
            self.page,
            evaluations=[self.evaluation],
            runs=[run_folder(root / "run")],
            leakage=self.leaks,
            before_after={"random": {"mean": 0.4, "interval": [0.3, 0.5]}, "gap": 0.1},
            pictures=9,
        )
        self.text = Text(self.page)

    @staticmethod
    def _with_layers(store: Dataset) -> Dataset:
        trees, first = [], 1
        for i in range(2):
            size = store[i].size
            trees.append(tree_rows(quarters(size[::-1]), i, first))
            first += trees[-1].num_rows
        store = add_layer(store, "regions", pa.concat_tables(trees), producer="quarters@1")
        boxes = [box(8, 8, 20, 20, score=0.9), box(30, 30, 9, 9, score=0.2)]
        found = objects_to_table([replace(b, sample=0) for b in boxes], nullable())
        return add_layer(store, "model", found.drop_columns(["annotation_id"]), producer="model@1")


def nullable() -> pa.Schema:
    return pa.schema([f.with_nullable(True) for f in tables.ANNOTATIONS])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("report"))


def test_every_section_is_there_in_order(whole: Whole) -> None:
    assert whole.facts["sections"] == list(SECTIONS) == list(whole.text.sections)
    assert whole.facts["bytes"] == whole.page.stat().st_size < 10_000_000
    assert whole.facts["pictures"] == whole.text.pictures > 40
    assert whole.facts["unreadable"] == 0
    schemes = {link.partition(":")[0] for link in whole.text.links if link[0] != "#"}
    assert schemes == {"data"}


def test_sections_say_what_was_given(whole: Whole) -> None:
    said = whole.text.sections
    assert f"{len(whole.store)}\nsamples" in said["Summary"]
    assert "quarters@1" in said["Summary"] and "train" in said["Summary"]
    assert "random" in said["Before and after"] and "0.3 … 0.5" in said["Before and after"]
    for kind in ("boxes (", "masks (", "keypoints (", "relations (", "captions (", "pair\n"):
        assert kind in said["Kinds of annotation"], kind
    assert "Classes: object" in said["Distributions"]
    assert "Vendi score (descriptors)" in said["Diversity"] and "GRADE" in said["Diversity"]
    assert "0.625" in said["Evaluation"] and "pro over fpr" in said["Evaluation"]
    assert said["Evaluation"].index("car") < said["Evaluation"].index("person")
    assert "truth and model" in said["Evaluation"]
    assert "small-run" in said["Training"] and "Loss by step" in said["Training"]


def test_what_was_planted_is_shown(whole: Whole) -> None:
    """Copies beside what they copy, leaks by split, boxes that reach outside near by."""
    said = whole.text.sections
    leaks = [p for p in whole.ledger if p.kind == "leak"]
    assert leaks
    for fault in leaks:
        assert fault.key in said["Duplicates and leaks"]
        assert str(fault.of) in said["Duplicates and leaks"]
    assert "View 'unique' leaves out" in said["Duplicates and leaks"]
    outside = next(p for p in whole.ledger if p.kind == "box-outside")
    assert "box_outside" in said["Findings"] and outside.key in said["Findings"]
    blurred = next(p for p in whole.ledger if p.kind == "blurred")
    assert blurred.key in said["Scores"].partition("laplacian")[2]


def test_the_first_picks_come_with_their_gain(whole: Whole) -> None:
    said = whole.text.sections["Selections"]
    view = whole.store.view("varied")
    assert "k_center@1" in said and "varied: what each pick added" in said
    for key in view.samples(["key"])["key"].to_pylist():
        assert key in said


def test_trees_are_cut_from_coarse_to_fine(whole: Whole) -> None:
    """The halves, at 0.9, are too coarse for 0.8; only the quarters are at most that coarse."""
    said = whole.text.sections["Granularity"]
    assert "2\ntrees" in said and "14\nmasks" in said
    cuts = dict(re.findall(r"g = ([\d.]+): (\d+) region", said))
    assert cuts == {"0.95": "2", "0.8": "4", "0.7": "4", "0.6": "4", "0.5": "4"}


def test_the_hardest_samples_come_first(whole: Whole) -> None:
    said = whole.text.sections["Training"]
    last = len(whole.store) - 1
    hardest = [whole.store[i].key for i in (last, last - 1)]
    assert said.index(hardest[0]) < said.index(hardest[1])
    assert whole.store[0].key not in said


@pytest.mark.skipif(missing is not None, reason=str(missing))
@pytest.mark.parametrize("width", [420, 1100])
def test_it_is_shown_in_a_browser(whole: Whole, width: int) -> None:
    """All pictures decode, nothing is fetched, nothing is wider than the window."""
    with Browser() as browser:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        browser._ask("POST", "/goog/cdp/execute", command)
        browser.open(whole.page.as_uri())
        browser.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        browser.wait(lambda b: b.evaluate("[...document.images].every(i => i.complete)"), 20)
        assert browser.evaluate("document.images.length") == whole.facts["pictures"]
        assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 30)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        resources = "performance.getEntriesByType('resource').map(r => r.name.split(':')[0])"
        assert set(browser.evaluate(resources)) <= {"data"}
        assert browser.evaluate("document.scripts.length") == 0
        drawn = "[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().width)"
        assert browser.evaluate(drawn)
        assert not browser.log()
        shown = browser.text()
        assert all(heading in shown for heading in whole.facts["sections"])


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = small(40)
    pages = [tmp_path / f"{i}.html" for i in range(3)]
    for page, seed in zip(pages, (0, 0, 1), strict=True):
        report(dataset, page, title="x", pictures=6, seed=seed)
    first, again, other = (p.read_bytes() for p in pages)
    assert first == again != other


# ---------------------------------------------------------------------- edges


def test_an_empty_dataset_has_a_page(tmp_path: Path) -> None:
    facts = report(Dataset.from_rows([]), tmp_path / "r.html")
    assert facts["sections"] == ["Summary"] and facts["pictures"] == 0


def test_without_media_numbers_are_shown(tmp_path: Path) -> None:
    samples = [Sample(f"{i}", width=9, height=9, annotations=[box(1, 1, 3, 3)]) for i in range(3)]
    dataset = Dataset.from_rows(samples, [Category("thing")])
    facts = report(dataset, tmp_path / "r.html")
    text = Text(tmp_path / "r.html")
    assert "the samples have no media" in text.sections["Summary"]
    assert "Distributions" in facts["sections"] and "Pictures" not in facts["sections"]
    assert text.pictures == facts["pictures"] == 0


def test_absent_and_broken_images_are_a_note(tmp_path: Path) -> None:
    dataset = small(4)
    samples = [s.row for s in dataset]
    samples[1].media = Media("gone.png")
    samples[2].media = Media(bytes=noise(2)[:200])
    facts = report(
        Dataset.from_rows(samples, [Category("thing")], media_root=tmp_path), tmp_path / "r.html"
    )
    text = Text(tmp_path / "r.html")
    assert facts["unreadable"] == 2 and text.pictures == facts["pictures"] > 0
    assert "2 pictures could not be read" in text.sections["Pictures"]


def test_images_that_moved_away_are_said_once(tmp_path: Path) -> None:
    samples = [Sample(f"{i}.png", media=Media(f"{i}.png")) for i in range(30)]
    facts = report(Dataset.from_rows(samples, media_root=tmp_path / "away"), tmp_path / "r.html")
    text = Text(tmp_path / "r.html")
    assert "No picture is shown" in text.sections["Summary"]
    assert "the file is absent" in text.sections["Summary"] and facts["pictures"] == 0


def test_names_are_no_markup(tmp_path: Path) -> None:
    key, name = "<b>&amp;.png", "<script>x</script>"
    sample = Sample(key, media=Media(bytes=noise(0)), annotations=[box(1, 1, 9, 9)], split="<i>")
    page = tmp_path / "r.html"
    report(Dataset.from_rows([sample], [Category(name)]), page, title="<h1>")
    text = Text(page)
    assert key in text.sections["Pictures"] and name in text.sections["Distributions"]
    assert "<script" not in page.read_text()


def test_few_images_of_many_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    real = store_view.open_image

    def counted(source: Any) -> Any:
        nonlocal opened
        opened += 1
        return real(source)

    monkeypatch.setattr(store_view, "open_image", counted)
    dataset = with_column(
        small(1500).save(tmp_path / "s.granum"), "dull", [float(i) for i in range(1500)],
        better="higher",
    )  # fmt: skip
    facts = report(dataset, tmp_path / "r.html", pictures=6)
    assert facts["pictures"] >= 12
    assert opened < 40


def test_pictures_may_be_left_out(tmp_path: Path) -> None:
    facts = report(small(), tmp_path / "r.html", pictures=0)
    assert facts["pictures"] == Text(tmp_path / "r.html").pictures == 0
    assert "Distributions" in facts["sections"]
    with pytest.raises(UsageError, match="at least 0"):
        report(small(), tmp_path / "s.html", pictures=-1)


def test_pictures_stay_within_their_bytes() -> None:
    album = Album(small(), most_bytes=4000)
    found = album.figures([album.plain(i, "") for i in range(6)])
    assert 0 < len(found) < 6
    assert album.left_out == 6 - len(found) and album.taken == len(found)
    assert album.bytes - len(found[-1]) < 4000 <= album.bytes


def test_nothing_is_written_over_or_by_halves(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    report(small(), page, title="first")
    with pytest.raises(ExistsError):
        report(small(), page)
    assert "first" in page.read_text()
    report(small(), page, title="second", overwrite=True)
    assert "second" in page.read_text()
    other = tmp_path / "other.html"
    for wrong in ({"evaluations": [tmp_path / "no.json"]}, {"runs": [tmp_path / "no"]}):
        with pytest.raises(FormatError):
            report(small(), other, **wrong)
    with pytest.raises(UnknownNameError):
        report(small(), other, layer="nobody")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_section_that_cannot_be_shown_says_so(tmp_path: Path) -> None:
    """A layer that claims trees, and is none: the rest of the page stands."""
    store = small().save(tmp_path / "s.granum")
    parts = [box(0, 0, 9, 9, annotation_id=1), box(1, 1, 3, 3, annotation_id=2, parent=1)]
    for part in parts:
        part.sample, part.granularity = 0, 0.5
    store = add_layer(store, "halves", objects_to_table(parts, nullable()))
    report(store, tmp_path / "r.html", pictures=3)
    text = Text(tmp_path / "r.html")
    assert "This could not be shown" in text.sections["Granularity"]
    assert "no mask" in text.sections["Granularity"] and text.pictures


# ------------------------------------------------------------------- sections


def test_the_gallery_has_each_split_and_the_richest(tmp_path: Path) -> None:
    dataset = small(60)
    samples = [s.row for s in dataset]
    samples[17].annotations = [box(i, i, 5, 5) for i in range(15)]
    samples[29].split = "test"
    dataset = Dataset.from_rows(samples, [Category("thing")])
    report(dataset, tmp_path / "r.html", pictures=6)
    text = Text(tmp_path / "r.html")
    said = text.sections["Pictures"]
    for why in ("train ·", "val ·", "test · 1 annotation\ns29.png", "rich ·", "random ·"):
        assert why in said, why
    assert "15 annotations\ns17.png" in said
    assert said.count(".png") == 6


def test_heat_maps_are_drawn_and_absent_ones_are_no_crash(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))
    Image.fromarray(ramp).save(tmp_path / "heat.png")
    fields = [Annotation(kind="field", map=LabelMap(path=p)) for p in ("heat.png", "gone.png")]
    grey = encoded(Image.new("RGB", (32, 24), (128, 128, 128)))
    samples = [
        Sample(f"s{i}", media=Media(bytes=grey), width=32, height=24, annotations=[f])
        for i, f in enumerate(fields)
    ]
    dataset = Dataset.from_rows(samples, media_root=tmp_path)
    album = Album(dataset)
    drawn, without = (np.asarray(album.drawn(dataset[i]), float) for i in (0, 1))
    assert np.ptp(drawn[40, 10:500].mean(axis=1)) > 60
    assert np.ptp(without[40, 10:500].mean(axis=1)) == 0
    report(dataset, tmp_path / "r.html")
    assert "fields (heat, depth) (1)" in Text(tmp_path / "r.html").sections["Kinds of annotation"]


def test_a_group_is_shown_with_what_is_said_of_it(tmp_path: Path) -> None:
    samples = [
        Sample(r, media=Media(bytes=noise(i)), width=32, height=24, group=0, role=r, order=i)
        for i, r in enumerate(("before", "after"))
    ]
    change = replace(box(4, 4, 9, 9), group=0)
    dataset = Dataset.from_rows(
        samples, [Category("new")], [Group("g0", kind="pair")], group_annotations=[change]
    )
    report(dataset, tmp_path / "r.html")
    assert "pair\ng0" in Text(tmp_path / "r.html").sections["Kinds of annotation"]
    bare = Dataset.from_rows(samples, [Category("new")], [Group("g0", kind="pair")])
    seen, plain = (np.asarray(shown(d), int) for d in (dataset, bare))
    differs = np.argwhere(np.abs(seen - plain).max(axis=2) > 40)
    assert len(differs) and differs[:, 1].min() > seen.shape[1] / 2  # on the last of the two


def shown(dataset: Dataset) -> Image.Image:
    """The picture of the first group."""
    take, _ = next(iter(_groups(Asked(dataset, Album(dataset), 4, 0))))
    found = take()
    assert found is not None
    return found


def test_members_at_equal_distances() -> None:
    assert spread(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert spread(np.arange(3), 4).tolist() == [0, 1, 2]


def test_measures_are_those_of_the_boxes() -> None:
    """Pixels and fractions, of known and unknown size."""
    samples = [
        Sample("a", width=100, height=50, annotations=[box(0, 0, 20, 10), box(5, 5, 10, 20)]),
        Sample("b", width=200, height=100, unit="relative", annotations=[box(0, 0, 0.5, 0.5)]),
        Sample("c", unit="relative", annotations=[box(0, 0, 0.25, 0.5)]),
        Sample("d", annotations=[Annotation(kind="label", category=0), box(0, 0, 3, 0)]),
    ]
    dataset = Dataset.from_rows(samples, [Category("thing"), Category("unused")])
    found = measured(dataset, np.array([0, 0, 1, -1]), 2)
    assert np.concatenate(found.pixels).tolist() == [200, 200, 5000]
    assert np.concatenate(found.share) == pytest.approx([0.04, 0.04, 0.25, 0.125])
    assert np.concatenate(found.aspect).tolist() == [2, 0.5, 2]
    assert np.concatenate(found.objects).tolist() == [2, 1, 1, 1]
    assert found.classes.tolist() == [[3, 1, 2], [0, 0, 0]]
    assert dict(found.sizes) == {(100, 50): 1, (200, 100): 1} and found.unsized == 2


def test_scores_know_their_worse_end(tmp_path: Path) -> None:
    store = small().save(tmp_path / "s.granum")
    values = [0.9, None, 0.1, 0.4, 0.5, 0.2]
    store = with_column(store, "high", values, better="higher", issue_below=0.3)
    store = with_column(store, "low", values, better="lower")
    store = with_column(store, "flag", [True, False, None, True, True, True])
    store = with_column(store, "vectors", [[1.0]] * 6)
    found = {s.name: s for s in scalar_columns(store)}
    assert set(found) == {"high", "low", "flag"}
    assert found["high"].worst(2).tolist() == [2, 5] and found["high"].issues == 2
    assert found["low"].worst(2).tolist() == [0, 4] and found["low"].issues is None
    report(store, tmp_path / "r.html")
    said = Text(tmp_path / "r.html").sections["Scores"]
    assert "high: 2 issues" in said
    assert said.index("s2.png") < said.index("s5.png") < said.index("s3.png")


def test_annotations_with_a_bad_score_are_near_by(tmp_path: Path) -> None:
    store = small().save(tmp_path / "s.granum")
    values = pa.array([0.5, 0.1, 0.9, 0.8, 0.7, 0.6])
    new = NewColumn("trust", facts={"better": "higher", "issue_below": 0.3})
    store = add_columns(store, [new], lambda *_: {"trust": values}, layer="truth")
    report(store, tmp_path / "r.html")
    said = Text(tmp_path / "r.html").sections["Scores"]
    assert "trust: 1 issue\n" in said
    assert said.index("0.1 · thing\ns1.png") < said.index("0.5 · thing\ns0.png")


def test_a_small_object_is_seen_near_by() -> None:
    """Cut out around the box, framed in white, the object within the frame."""
    pixels = np.full((200, 300, 3), 60, np.uint8)
    pixels[150:156, 250:256] = (255, 0, 0)
    sample = Sample(
        "s", media=Media(bytes=encoded(Image.fromarray(pixels))), width=300, height=200,
        annotations=[box(249, 149, 8, 8, annotation_id=5), box(10, 10, 9, 9, annotation_id=6)],
    )  # fmt: skip
    album = Album(Dataset.from_rows([sample], [Category("dot")]))
    take, caption = album.close("s", [5], "tiny")
    seen = take()
    assert seen is not None and caption == "tiny · dot\ns"
    assert seen.width == seen.height >= 360
    array = np.asarray(seen, int)
    red = np.argwhere((array[..., 0] > 200) & (array[..., 1:].max(axis=2) < 90))
    white = np.argwhere(array.min(axis=2) > 245)
    assert len(red) > 300 and (white.min(axis=0) < red.min(axis=0)).all()
    assert (white.max(axis=0) > red.max(axis=0)).all()


def test_duplicates_of_an_object_of_json_and_of_a_file_are_one(tmp_path: Path) -> None:
    dataset = small()
    samples = [s.row for s in dataset]
    samples[3].media = samples[0].media
    store = Dataset.from_rows(samples, [Category("thing")]).save(tmp_path / "s.granum")
    found = duplicates(store)
    given = tmp_path / "dup.json"
    given.write_text(json.dumps(found.to_dict(), default=str))
    pages = []
    for i, way in enumerate((found, found.to_dict(), given)):
        report(found.dataset, tmp_path / f"{i}.html", duplicates=way)
        pages.append((tmp_path / f"{i}.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]
    said = Text(tmp_path / "0.html").sections["Duplicates and leaks"]
    assert "exact-file" in said and "kept\ns0.png" in said and "s3.png" in said


def test_leaks_against_another_store_show_both(tmp_path: Path) -> None:
    one = small(3).save(tmp_path / "one.granum")
    samples = [s.row for s in small(5)][2:]
    samples[0].key = "same.png"
    two = Dataset.from_rows(samples, [Category("thing")]).save(tmp_path / "two.granum")
    found = leakage(one, other=two)
    report(found.dataset, tmp_path / "r.html", leakage=found)
    text = Text(tmp_path / "r.html")
    said = text.sections["Duplicates and leaks"]
    assert "s2.png" in said and "same.png" in said


def test_leaks_that_a_view_leaves_out(tmp_path: Path) -> None:
    samples = [s.row for s in small()]
    samples[3].media = samples[0].media
    store = Dataset.from_rows(samples, [Category("thing")]).save(tmp_path / "s.granum")
    found = leakage(store)
    report(found.fixed().save(found.dataset, "clean"), tmp_path / "r.html")
    said = Text(tmp_path / "r.html").sections["Duplicates and leaks"]
    assert "View 'clean' leaves out 1 of 6" in said
    both = ("kept\ns3.png", "dropped\ns0.png"), ("kept\ns0.png", "dropped\ns3.png")
    assert any(all(words in said for words in way) for way in both)


def test_statistics_in_any_form(tmp_path: Path) -> None:
    dataset = small()
    spread_ = grade(dataset, ["size_bin"])
    ways: list[Any] = [spread_, [spread_], {"grade": spread_.to_dict()}]
    pages = []
    for i, way in enumerate(ways):
        report(dataset, tmp_path / f"{i}.html", title="x", statistics=way, pictures=0)
        pages.append((tmp_path / f"{i}.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]
    said = Text(tmp_path / "0.html").sections["Diversity"]
    assert "GRADE" in said and "size_bin" in said and "Hill" not in said


def test_an_evaluation_from_its_file(tmp_path: Path) -> None:
    result = Result("semantic", {"mIoU": 0.25}, per_class=pa.table(PER_CLASS))
    (tmp_path / "e.json").write_text(result.to_json())
    report(small(), tmp_path / "r.html", evaluations=[tmp_path / "e.json"])
    said = Text(tmp_path / "r.html").sections["Evaluation"]
    assert "semantic" in said and "0.25" in said and "AP by class" in said


def test_the_best_predictions_are_drawn() -> None:
    found = [Annotation(score=s) for s in (0.1, None, 0.9, 0.5, 0.7)]
    assert [a.score for a in best(found, 1)] == [0.9, 0.7, 0.5]
    assert len(best(found * 10, 40)) == 20


def test_what_was_lost_is_told(tmp_path: Path) -> None:
    steps = [{"verb": "read", "format": "coco", "lost": {"keypoints": 3}}]
    dataset = small()._with(meta=Meta(lineage=steps))
    report(dataset, tmp_path / "r.html")
    said = Text(tmp_path / "r.html").sections["Summary"]
    assert "What was lost" in said and "keypoints\n3" in said and "format coco" in said


def test_a_run_that_has_not_ended_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "going"
    folder.mkdir()
    (folder / "log.jsonl").write_text('{"step": 0, "loss": 1.5}\n{"step": 1, "loss": 0.25}\n')
    report(small(), tmp_path / "r.html", runs=[folder])
    said = Text(tmp_path / "r.html").sections["Training"]
    assert "Run going" in said and "0.25" in said and "Loss by step" in said


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, page = tmp_path / "s.granum", tmp_path / "r.html"
    small().save(store)
    assert cli.main(["report", str(store), str(page), "--pictures", "3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["path"] == str(page) and facts["bytes"] == page.stat().st_size
    assert cli.main(["report", str(store), str(page)]) == 1
    assert cli.main(["report", str(store), str(page), "--overwrite", "--title", "t"]) == 0
    assert f"wrote {page}" in capsys.readouterr().out


def test_real_photos(tmp_path: Path) -> None:
    """Labels in fractions, and no size on record."""
    root = shared("coco128")
    page = tmp_path / "r.html"
    code = cli.main(
        ["report", str(root / "object_detection"), str(page), "--images", str(root),
         "--pictures", "6", "--json"]
    )  # fmt: skip
    assert code == 0
    text = Text(page)
    assert "100\nsamples" in text.sections["Summary"] and text.pictures >= 7
    assert "100 of 100 images have no size on record" in text.sections["Distributions"]
