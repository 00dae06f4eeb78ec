"""The command line: exit codes, one JSON object, nothing written where it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.cli import command, main
from granum.commands import VERBS
from tests.loaders.faults import VALID, faulty


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(VALID))
    return path


def run(*words: str | Path) -> int:
    return main([str(w) for w in words])


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_every_verb_has_flags_and_a_command() -> None:
    for verb in VERBS:
        module = command(verb)
        assert callable(module.flags) and callable(module.run)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    assert VERBS[verb].split(":")[0] in " ".join(capsys.readouterr().out.split())


def test_every_public_name_is_there() -> None:
    code = "import granum\nfor n in granum.__all__: getattr(granum, n)\nprint(granum.fit.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "train"
    assert set(granum.__all__) == set(granum._WHERE)


def test_help_imports_no_format() -> None:
    heavy = {"pyarrow", "numpy", "datasets", "dask", "granum.loaders"}
    code = "import sys, granum.cli; granum.cli.main(['--help']); print('@', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.partition("@")[2].split())
    assert "granum.cli" in loaded
    assert not heavy & loaded


def test_import_and_back(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "x.granum"
    assert run("convert", coco, store, "--json") == 0
    facts = answer(capsys)
    assert facts["written"] == {"samples": 2, "annotations": 20, "categories": 2}
    assert run("convert", store, tmp_path / "out.json", "--to", "coco") == 0
    assert json.loads((tmp_path / "out.json").read_text()) == VALID


def test_info_counts(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", coco, "--json") == 0
    facts = answer(capsys)
    assert facts["samples"] == 2
    assert facts["layers"]["truth"]["kinds"] == {"object": 20}
    assert facts["categories"]["counts"] == {"cat": 20, "dog": 0}


def test_a_loss_is_refused_and_nothing_written(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("convert", coco, tmp_path / "yolo", "--to", "yolo", "--task", "detect", "--json") == 1
    )
    error = answer(capsys)["error"]
    assert error["code"] == "loss"
    assert "mask" in error["refused"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["instances.json"]
    allowed = ",".join(error["refused"])
    words = ["convert", coco, tmp_path / "yolo", "--to", "yolo", "--task", "detect"]
    report = tmp_path / "loss.json"
    assert run(*words, "--allow-loss", allowed, "--report", report) == 0
    lost = json.loads(report.read_text())["losses"]
    assert lost["lost"]["mask"] == 20
    for row in lost["columns"]:
        assert row["kept"] + row["changed"] + row["lost"] == row["total"]


def test_nothing_is_overwritten_unasked(coco: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.granum"
    assert run("convert", coco, store) == 0
    assert run("convert", coco, store) == 1
    assert run("convert", coco, store, "--overwrite") == 0


def test_a_dry_run_writes_nothing(coco: Path, tmp_path: Path) -> None:
    assert run("convert", coco, tmp_path / "out.json", "--to", "coco", "--dry-run") == 0
    assert run("convert", coco, tmp_path / "x.granum", "--dry-run") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["instances.json"]


def test_skipped_records_exit_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(faulty("negative width", "orphan image")))
    assert run("convert", bad, tmp_path / "x.granum", "--json") == 1
    assert answer(capsys)["error"]["counts"] == {"negative-box": 1, "orphan-image": 1}
    assert not (tmp_path / "x.granum").exists()
    assert run("convert", bad, tmp_path / "x.granum", "--on-error", "skip", "--json") == 3
    assert answer(capsys)["counts"] == {"negative-box": 1, "orphan-image": 1}
    assert granum.open(tmp_path / "x.granum").num_annotations == 18


def test_validate_tells_by_its_exit_code(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("validate", coco) == 0
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(faulty("box outside image")))
    assert run("validate", bad) == 0
    assert run("validate", bad, "--fail-on", "warning") == 3
    capsys.readouterr()
    assert run("validate", bad, "--json") == 0
    found = answer(capsys)["findings"][0]
    assert (found["code"], found["place"], found["fix"]) == (
        "box-outside-image",
        "/annotations/5",
        "clips the box",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["convert"],
        ["convert", "a"],
        ["bogus"],
        ["convert", "a", "b", "--bogus"],
        ["convert", "{coco}", "{tmp}/out", "--to", "nonsense"],
        ["convert", "{coco}", "{tmp}/x.granum", "--conf"],
        ["convert", "{coco}", "{tmp}/x.granum", "--where", "bogus > 1"],
    ],
)
def test_wrong_calls(
    words: list[str], coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [w.format(coco=coco, tmp=tmp_path) for w in words]
    assert run(*filled, "--json") in (1, 2)
    assert set(answer(capsys)) == {"error"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["instances.json"]


def test_filters_and_maps(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--where", "bbox.w > 5", "--map", "cat=animal", "--categories", "animal", "--json"]
    assert run("convert", coco, tmp_path / "x.granum", *words) == 0
    assert answer(capsys)["mapped"]["moved"] == {"cat": 20}
    assert granum.open(tmp_path / "x.granum").counts() == {"animal": 20}
    assert run("convert", coco, tmp_path / "y.granum", "--where", "area > 1e9", "--drop-empty") == 0
    assert len(granum.open(tmp_path / "y.granum")) == 0


def test_formats_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("formats", "--json") == 0
    listed = {f["name"]: f for f in answer(capsys)}
    assert {"coco", "coco_panoptic", "yolo", "voc", "image_folder", "hf"} <= set(listed)
    assert all(f["reads"] for f in listed.values())
    assert listed["coco"]["writes"] and not listed["cityscapes"]["writes"]
    assert listed["coco_stuff"]["extra"] == "eval" and listed["coco"]["checked"] == "real data"
    assert run("formats") == 0
    said = capsys.readouterr().out
    assert "moves bbox by at most 1e-06, angle by at most 1e-09" in said  # cvat
    assert run("formats", "cityscapes") == 0
    said = capsys.readouterr().out
    assert "options to read: --annotations, --objects" in said and "leftImg8bit/train" in said
    assert run("formats", "citiscapes") == 1
    assert "Did you mean 'cityscapes'" in capsys.readouterr().err


def test_unknown_trees_are_no_silent_empty_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "notes.md").write_text("nothing here")
    assert run("info", tmp_path / "tree", "--json") == 1
    error = answer(capsys)["error"]
    assert error["code"] == "ambiguous-format"
    assert "notes.md" in error["message"]


def test_a_reader_that_stops_early_is_no_failure() -> None:
    command = f"{sys.executable} -m granum.cli formats --json | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and "Error" not in done.stderr


def test_an_option_that_formats_take_in_two_ways(coco: Path, tmp_path: Path) -> None:
    """``masks`` is yes or no for one format and a folder for another: the flag takes both, and
    what does not fit is a wrong call."""
    assert (
        main(["convert", str(coco), str(tmp_path / "v"), "--to", "voc", "--allow-loss", "all"]) == 0
    )
    for flags, code in {
        ("--no-masks",): 0,
        ("--masks",): 0,
        ("--masks", "somewhere"): 2,
        ("--box-origin", "two"): 2,
    }.items():
        target = tmp_path / "-".join(flags)
        words = ["convert", str(tmp_path / "v"), str(target), "--from", "voc", "--to", "granum"]
        assert main([*words, *flags]) == code, flags
