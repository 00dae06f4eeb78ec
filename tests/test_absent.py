"""Every optional package absent: the rest works, and what needs it says what to install.

A package is absent in a fresh process that is told so before granum is imported; what is there in
this environment does not matter, so the bare core runs these tests as well.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.commands import VERBS
from granum.errors import MissingExtraError
from granum.schema import rows
from granum.schema.fields import field_to_map
from granum.schema.geometry import encode_mask
from granum.store.dataset import Dataset
from tests.curate.planted import drawn

OPTIONAL = (
    *("av", "distributed", "faiss", "fiftyone", "higra", "hotcoco", "imagehash", "polars"),
    *("rasterio", "scipy", "simplejpeg", "skimage", "sklearn", "torch", "transformers"),
)
GROUPS = {
    "torch": ("torch", "transformers"),
    "fiftyone": ("fiftyone",),
    "higra": ("higra", "skimage"),
    "faiss": ("faiss",),
    "hotcoco": ("hotcoco",),
    "scipy": ("scipy",),
    "distributed": ("distributed",),
    "others": ("imagehash", "polars", "simplejpeg", "sklearn"),
    "all": OPTIONAL,
}
"""What is absent together. pandas is not among them: ``datasets``, of the core, needs it."""

DRIVER = """
import contextlib, io, json, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from granum.cli import main
answers = []
for words in json.loads(sys.argv[2]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    answers.append([code, json.loads(out.getvalue())])
print(json.dumps(answers))
"""

SIZE = (96, 128)
"""Height and width of a picture of ``drawn``."""


def box(x: float, category: int, **more: Any) -> rows.Annotation:
    mask = np.zeros(SIZE, bool)
    mask[8:28, int(x) : int(x) + 20] = True
    size, counts = encode_mask(mask)
    return rows.Annotation(
        category=category, bbox=(x, 8, 20, 20), area=400, rle=rows.Rle(size, counts), **more
    )


def sample(path: Path, i: int) -> rows.Sample:
    heat, extra = field_to_map(np.linspace(0, 1 + i, SIZE[0] * SIZE[1]).reshape(SIZE))
    guess = rows.Annotation("field", map=rows.LabelMap(bytes=heat), extra=extra, score=float(i))
    return rows.Sample(
        path.name,
        media=rows.Media(path.name),
        width=SIZE[1],
        height=SIZE[0],
        split="train" if i % 2 else "val",
        annotations=[box(2, i % 2), box(30, i % 2)],
        layers={"net": [box(3, 0, score=0.9), box(30, 1, score=0.5)], "heat": [guess]},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made in memory; the last of its pictures is a copy of the first."""
    root = tmp_path_factory.mktemp("absent")
    paths = drawn(root / "images", 6)
    copy = paths[0].with_name("copy.jpg")
    copy.write_bytes(paths[0].read_bytes())
    samples = [sample(p, i) for i, p in enumerate([*paths, copy])]
    categories = [rows.Category("cat"), rows.Category("dog")]
    Dataset.from_rows(samples, categories, media_root=root / "images").save(root / "x.granum")
    return root / "x.granum"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(made, tmp_path / "x.granum"))


def python(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without(packages: tuple[str, ...], commands: list[list[Any]]) -> list[tuple[int, Any]]:
    """Exit codes and answers of commands, in one process that lacks the packages."""
    words = json.dumps([[str(w) for w in command] for command in commands])
    return [(code, said) for code, said in json.loads(python(DRIVER, ",".join(packages), words))]


def common(store: Path) -> list[list[Any]]:
    """What needs no extra."""
    folder = store.parent
    return [
        ["score", store],
        ["dedup", store, "--save-as", "unique"],
        ["leakage", store],
        ["split", store, "train=0.5", "test=0.5", "--name", "s-"],
        ["stats", store, "--space", "descriptors"],
        ["select", store, "-n", 3, "--space", "descriptors", "--save-as", "varied"],
        ["score", store, "knn:k=2", "outlier:k=2"],
        ["check", store],
        ["hierarchy", store, "--method", "forest"],
        ["eval", store, "--protocol", "panoptic-quality", "--layer", "net"],
        ["eval", store, "--protocol", "semantic", "--layer", "net"],
        ["crops", store, folder / "crops.granum"],
        ["convert", store, folder / "coco", "--to", "coco", "--layer", "truth"],
        ["report", store, folder / "report.html"],
    ]


def backbone(folder: Path) -> Path:
    """What looks like a model."""
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def needing(store: Path) -> dict[str, dict[str, list[Any]]]:
    """By group of packages and then by extra: commands that need them."""
    hooks = {h: ["train", store, "--hook", h, "-o", store.parent / h] for h in ("detector", "x")}
    hooks["x"][3] = "classifier"
    return {
        "torch": {
            "train": [*hooks["x"], "--steps", 1, "--label-from", "object"],
            "train ": ["score", store, f"embedding:path={backbone(store.parent)}"],
        },
        "fiftyone": {"fiftyone": ["browse", store]},
        "higra": {
            "hierarchy": ["hierarchy", store, "--layer", "a"],
            "hierarchy ": ["hierarchy", store, "--method", "watershed_volume", "--layer", "b"],
        },
        "hotcoco": {"eval": ["eval", store, "--protocol", "coco-bbox", "--layer", "net"]},
        "scipy": {
            "eval": ["eval", store, "--protocol", "anomaly", "--layer", "heat"],
            "train": [*hooks["detector"], "--steps", 1],
        },
        "distributed": {"cluster": ["score", store, "dhash", "--scheduler", "tcp://127.0.0.1:9"]},
    }


# ------------------------------------------------------------------ importing


def test_importing_and_help_need_no_extra() -> None:
    code = """
import sys
before = set(sys.modules)
import granum, granum.cli, granum.commands
from contextlib import redirect_stdout
from io import StringIO
with redirect_stdout(StringIO()):
    granum.cli.main(["--help"])
    for name in granum.__all__:
        getattr(granum, name)
    for verb in sys.argv[1].split(","):
        granum.cli.main([verb, "--help"])
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    loaded = set(python(code, ",".join(VERBS)).split())
    assert "granum" in loaded
    assert not loaded & set(OPTIONAL)


# ------------------------------------------------------------------ verbs


@pytest.mark.parametrize("group", GROUPS)
def test_the_rest_works_and_the_absent_part_says_what_to_install(group: str, store: Path) -> None:
    commands, asked = common(store), needing(store)
    wanting = {
        (part, extra): command
        for part, by_extra in asked.items()
        for extra, command in by_extra.items()
        if group in ("all", part)
    }
    answers = without(GROUPS[group], [*commands, *wanting.values()])
    for command, (code, said) in zip(commands, answers, strict=False):
        assert code == 0, (command, said)
    first = dict(zip([c[0] for c in commands], [said for _, said in answers], strict=False))
    assert first["dedup"]["kinds"]["exact-file"] == 1
    assert first["leakage"]["pairs"] == 0  # the copy is in val as well
    assert first["select"]["selected"] == 3
    assert first["hierarchy"]["trees"] == 7
    for (part, extra), (code, said) in zip(wanting, answers[len(commands) :], strict=True):
        assert code == 1, (part, extra, said)
        assert said["error"]["code"] == "missing-extra"
        assert said["error"]["message"].endswith(f": pip install granum[{extra.strip()}]")
    if group == "torch":
        assert not (store.parent / "x").exists()


def test_absent_packages_change_no_number(store: Path, tmp_path: Path) -> None:
    """Neighbours, hashes and scores with what is here, and without any of it."""
    other = Path(shutil.copytree(store, tmp_path / "other.granum"))
    names = ("knn:k=3", "phash", "sharpness", "descriptors")
    for path, absent in ((store, ("faiss_is_here",)), (other, OPTIONAL)):
        ((code, said),) = without(absent, [["score", path, *names]])
        assert code == 0, said
    both = [granum.open(path) for path in (store, other)]
    columns = [n for n in both[0].samples().column_names if n.startswith("col.")]
    assert len(columns) > 4
    assert both[0].samples(columns).equals(both[1].samples(columns))


def test_the_demo_without_its_parts(tmp_path: Path) -> None:
    code = """
import json, sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
from granum.verbs.demo import demo
print(json.dumps(demo(sys.argv[1], scenes=6, surfaces=4)["summary"]))
"""
    summary = json.loads(python(code, str(tmp_path / "demo"), ",".join(OPTIONAL)))
    said = {line.split()[0]: line for line in summary}
    assert said["regions"].endswith("left out: pip install granum[hierarchy] (higra, skimage)")
    assert said["trained"].endswith("left out: pip install granum[train] (torch, scipy)")
    assert "defects" not in said
    assert said["found"].count("/1.00 of") >= 4
    assert (tmp_path / "demo/report.html").stat().st_size > 10_000


# ------------------------------------------------------------------ calls that are no verbs


def test_frames(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = granum.open(made)
    for package in ("polars", "pandas"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=rf"pip install granum\[{package}\]"):
            getattr(dataset, f"to_{package}")()


def test_loaders(made: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None
import granum
try:
    granum.to_torch(granum.open(sys.argv[1]))
except granum.errors.MissingExtraError as error:
    print(error)
"""
    assert python(code, str(made)).strip() == "training needs torch: pip install granum[train]"


def test_photos_are_decoded_without_simplejpeg(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from granum.train.decode import opener
    from granum.verbs.training import train

    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    opener.cache_clear()
    options: dict[str, Any] = {"steps": 1, "size": 16, "threads": 1, "device": "cpu"}
    try:
        with pytest.raises(MissingExtraError, match=r"pip install granum\[train\]"):
            opener("simplejpeg")
        done = train(
            made, "rotation", out=tmp_path / "run", hook_options={"width": 4}, write_back=False,
            **options,
        )  # fmt: skip
    finally:
        opener.cache_clear()
    assert done.record["steps"] == 1
