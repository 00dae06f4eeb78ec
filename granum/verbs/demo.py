"""The whole road on generated data, no download: make, find, select, measure, train, look."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from granum.errors import ExistsError
from granum.store.dataset import Dataset
from granum.synthetic import generate
from granum.synthetic.faults import Planted, Score, found, plant
from granum.verbs._demo_convert import pictures, to_coco, to_yolo
from granum.verbs._demo_curate import Curated, curate, suspects
from granum.verbs.crops import crops
from granum.verbs.look import info

__all__ = ["demo"]

WHOLES = ("person", "car", "house", "tree", "lamp", "bench", "ball", "ring", "bird")


def demo(
    target: str | Path = "demo",
    *,
    seed: int = 0,
    scenes: int = 96,
    surfaces: int = 40,
    seeds: int = 3,
    steps: int = 240,
    surface_steps: int = 150,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make a dataset of real kinds from a seed, with faults planted in it, and walk the road.

    Parts whose packages are absent are left out, and said.

    Args:
        target: folder to make.
        seed: equal seeds make equal data.
        scenes, surfaces: how many street scenes and surfaces.
        seeds, steps: classifiers of each kind, and their training steps.
        surface_steps: EfficientAD's on the surfaces.
        overwrite: replace the folder (only one that an earlier demo made).

    Returns:
        Paths and counts; ``found`` is a table of precision and recall per kind of planted fault,
        ``summary`` says in lines what was done.

    Raises:
        ExistsError: the folder is there.
    """
    out = Path(target)
    _make_room(out, overwrite)
    began = time.perf_counter()
    truth, planted = _made(out, seed, scenes, surfaces)
    facts: dict[str, Any] = {"target": str(out), "kinds": info(truth)["layers"]["truth"]["kinds"]}
    kinds = ", ".join(f"{n} {k}s" for k, n in facts["kinds"].items())
    lines = [
        f"made      {len(truth)} images in {truth.groups.num_rows} groups, seed {seed}: {kinds}"
    ]
    street = truth.select([i for i, s in enumerate(truth) if s.key.startswith("scenes/")])
    lines += to_coco(street, out)
    lines += to_yolo(out)
    picture = pictures(truth, out)
    curated = curate(truth, planted, max(8, scenes // 4))
    scores = dict(curated.scores)
    objects, suspected = _objects(curated.dataset, out)
    in_crops = {(s.row.attributes or {})["annotation"] for s in objects}
    scores["wrong-label"] = found(
        {p.annotation for p in planted if p.kind == "wrong-label"} & in_crops, suspected
    )
    lines += _curation_lines(scores, curated)
    dataset = _regions(curated.dataset, lines)
    comparison = _training(
        truth, objects, suspected, planted, out, seeds, (steps, surface_steps), lines, facts
    )
    facts["found"] = {kind: _row(score) for kind, score in scores.items()}
    page = _report(dataset, curated, facts, comparison, out)
    facts |= {"picture": str(picture), "report": str(page)}
    (out / "facts.json").write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    lines.append(f"looked    {picture}; done in {time.perf_counter() - began:.0f} s")
    lines.append(f"report    {page}")
    return {**facts, "summary": lines}


_MARK = "made-by-granum-demo"


def _make_room(out: Path, overwrite: bool) -> None:
    if out.exists() and any(out.iterdir()):
        if not overwrite or not (out / _MARK).exists():
            raise ExistsError(f"{out} exists; --overwrite replaces a folder that granum demo made")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).write_text("")


def _made(out: Path, seed: int, scenes: int, surfaces: int) -> tuple[Dataset, list[Planted]]:
    """The store of all kinds, and where its faults are."""
    made = generate(out / "images", seed=seed, scenes=scenes, textures=surfaces)
    planted = plant(made, seed=seed, share=0.1)
    (out / "planted.json").write_text(json.dumps([asdict(p) for p in planted], indent=1))
    truth = Dataset.from_rows(
        made.samples,
        made.categories,
        made.groups,
        group_annotations=made.group_annotations,
        media_root=made.root.resolve(),
    ).save(out / "demo.granum")
    return truth, planted


def _objects(dataset: Dataset, out: Path) -> tuple[Dataset, set[int]]:
    """Crops of the whole objects of the scenes, and those whose label is suspect."""
    rows = [i for i, s in enumerate(dataset) if s.key.startswith("scenes/")]
    made = crops(dataset.select(rows), out / "objects.granum", categories=WHOLES)
    return suspects(made)


def _row(score: Score) -> dict[str, Any]:
    return {**asdict(score), "precision": score.precision, "recall": score.recall}


def _curation_lines(scores: Mapping[str, Score], curated: Curated) -> list[str]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    per_kind = ", ".join(
        f"{kind} {share(s.precision)}/{share(s.recall)} of {s.planted}"
        for kind, s in scores.items()
    )
    varied, chance = curated.picked
    grade = curated.statistics["grade"].values
    mean = grade.get("grade")
    return [
        f"found     precision/recall of what was planted: {per_kind}",
        f"selected  {len(curated.dataset.view('varied'))} varied scenes: Vendi score {varied:.1f} "
        f"in the descriptor space, {chance:.1f} of as many random ones"
        + ("" if mean is None else f"; GRADE of the whole {mean:.2f}"),
    ]


def _absent(*packages: str) -> list[str]:
    return [p for p in packages if importlib.util.find_spec(p) is None]


def _regions(dataset: Dataset, lines: list[str]) -> Dataset:
    """A layer of region trees of all images."""
    if missing := _absent("higra", "skimage"):
        lines.append(f"regions   left out: pip install granum[hierarchy] ({', '.join(missing)})")
        return dataset
    from granum.verbs.hierarchy import hierarchy

    done = hierarchy(dataset, "slico_average", parameters={"superpixels": 150})
    lines.append(
        f"regions   {done.facts['nodes']} nodes in {done.facts['trees']} trees, "
        f"{done.facts['seconds']:.0f} s"
    )
    return done.dataset.layer("truth")


def _training(
    truth: Dataset,
    objects: Dataset,
    suspected: set[int],
    planted: Sequence[Planted],
    out: Path,
    seeds: int,
    steps: tuple[int, int],
    lines: list[str],
    facts: dict[str, Any],
) -> dict[str, Any] | None:
    if missing := _absent("torch", "scipy"):
        lines.append(f"trained   left out: pip install granum[train] ({', '.join(missing)})")
        return None
    from granum.verbs._demo_train import before_after, defects

    names = {n: i for i, n in enumerate(truth.category_names())}
    wrong = {p.annotation: names[p.of] for p in planted if p.kind == "wrong-label" and p.of}
    runs = out / "runs"
    done = before_after(objects, suspected, wrong, runs, seeds=seeds, steps=steps[0])  # type: ignore[arg-type]
    zero = "; the interval holds 0: no difference shown" if done.holds_zero else ""
    lines.append(
        f"trained   classifier of objects, {seeds} seeds, {steps[0]} steps each: balanced accuracy "
        f"{done.before:.3f} before curation, {done.after:.3f} after; difference "
        f"{done.difference:+.3f}, 95 % in [{done.low:+.3f}, {done.high:+.3f}]{zero}"
    )
    rows = [i for i, s in enumerate(truth) if s.key.startswith("textures/")]
    surfaces = truth.select(rows).save(out / "surfaces.granum")
    numbers = defects(surfaces, runs, steps=steps[1])
    shown = ", ".join(f"{n} {v:.3f}" for n, v in numbers.items() if v is not None)
    lines.append(f"defects   EfficientAD-S, a quarter as wide: {shown}")
    facts["before_after"], facts["defects"] = done.to_dict(), numbers
    return done.to_dict()


def _report(
    dataset: Dataset,
    curated: Curated,
    facts: Mapping[str, Any],
    comparison: dict[str, Any] | None,
    out: Path,
) -> Path:
    from granum.verbs.report import report

    page = out / "report.html"
    runs = sorted(p for p in (out / "runs").glob("*") if p.is_dir())
    report(
        dataset,
        page,
        title="granum demo",
        duplicates=curated.duplicates,
        leakage=curated.leaks,
        statistics=curated.statistics,
        runs=[r for r in runs if r.name in ("before-0", "after-0", "defects")],
        before_after={**facts["found"], **(comparison or {})},
    )
    return page
