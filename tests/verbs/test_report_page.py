"""The report page of real datasets: what is there is shown, what is not is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import granum
from granum.cli import main
from granum.errors import ExistsError
from granum.schema.rows import Annotation, Category, Media, Sample
from granum.store.dataset import Dataset
from granum.synthetic import generate
from granum.synthetic.faults import plant
from tests.browse.browser import Browser, missing


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Generated data of every kind, with faults, scored and selected from."""
    root = tmp_path_factory.mktemp("report")
    made = generate(root / "images", scenes=12, frames=3, pairs=1, textures=4, size=(96, 72))
    plant(made, share=0.1)
    whole = Dataset.from_rows(
        made.samples,
        made.categories,
        made.groups,
        group_annotations=made.group_annotations,
        media_root=made.root,
    ).save(root / "x.granum")
    scored = granum.score(whole, ["sharpness", "brightness", "descriptors"]).dataset
    return granum.select(scored, "k_center", 4, save_as="four").dataset


def titles(page: Path) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", page.read_text())


def test_every_section_that_has_data(store: Dataset, tmp_path: Path) -> None:
    found = granum.dedup(store)
    facts = granum.report(
        found.dataset,
        tmp_path / "r.html",
        title="All <kinds>",
        duplicates=found.found,
        statistics=granum.stats(found.dataset, space="descriptors"),
        before_after={"before": 0.5, "after": 0.75},
        pictures=6,
    )
    shown = titles(tmp_path / "r.html")
    assert shown == facts["sections"]
    wanted = {"Summary", "Before and after", "Pictures", "Distributions", "Scores", "Findings"}
    assert wanted | {"Duplicates and leaks", "Diversity", "Selections"} <= set(shown)
    assert not {"Training", "Evaluation", "Granularity"} & set(shown)
    text = (tmp_path / "r.html").read_text()
    assert "All &lt;kinds&gt;" in text and "0.75" in text and "k_center" in text
    assert facts["unreadable"] == 0 and 0 < facts["bytes"] == len(text.encode()) < 10_000_000
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    with pytest.raises(ExistsError):
        granum.report(store, tmp_path / "r.html")


@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_a_browser_shows_it(store: Dataset, tmp_path: Path) -> None:
    granum.report(store, tmp_path / "r.html", pictures=4)
    with Browser() as browser:
        browser.open((tmp_path / "r.html").as_uri())
        browser.wait(lambda b: "Distributions" in b.text())
        # Lazy pictures load when asked for: every one must decode.
        broken = browser.evaluate(
            "[...document.images].map(i => { i.loading = 'eager'; return i; })"
            ".filter(i => !i.src.startsWith('data:image/')).length"
        )
        assert broken == 0
        every = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
        browser.wait(lambda b: b.evaluate(every))
        assert browser.evaluate("document.images.length") > 4
        # Nothing is wider than the page, but what scrolls on its own.
        assert browser.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )


def test_no_media_is_said_and_no_failure(tmp_path: Path) -> None:
    samples = [
        Sample("a", Media("gone.png"), 10, 10, annotations=[Annotation(bbox=(1, 1, 5, 5))]),
        Sample("b"),
    ]
    data = Dataset.from_rows(samples, [Category("cat")], media_root=tmp_path)
    facts = granum.report(data, tmp_path / "r.html")
    assert facts["pictures"] == 0 and facts["unreadable"] >= 1
    assert "Summary" in facts["sections"]


def test_an_empty_dataset_has_a_page(tmp_path: Path) -> None:
    facts = granum.report(Dataset.from_rows([]), tmp_path / "r.html")
    assert "Summary" in facts["sections"] and (tmp_path / "r.html").exists()


def test_results_and_runs_by_the_command_line(
    store: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {
        "protocol": "coco-bbox",
        "values": {"AP": 0.25, "AP50": None},
        "per_class": [{"category": "cat", "AP": 0.25}],
        "facts": {},
        "findings": {"counts": {}, "findings": []},
    }
    (tmp_path / "eval.json").write_text(json.dumps(result))
    assert store.meta.store is not None
    words = ["report", str(store.meta.store.path), str(tmp_path / "r.html"), "--pictures", "2"]
    assert main([*words, "--eval", str(tmp_path / "eval.json"), "--json"]) == 0
    assert "Evaluation" in json.loads(capsys.readouterr().out)["sections"]
    assert "coco-bbox" in (tmp_path / "r.html").read_text()
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
