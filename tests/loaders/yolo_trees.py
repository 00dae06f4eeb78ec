"""Small YOLO trees typed by hand; reading and writing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from granum.loaders.base import Intake
from granum.loaders.reading import read_into
from granum.loaders.writing import write_dataset
from granum.loaders.yolo import Yolo
from granum.schema import rows
from granum.schema.findings import Findings
from granum.schema.losses import LossReport
from granum.schema.rows import Annotation, Category, Sample
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset

DATA = "train: images/train\nval: images/val\nnames:\n  0: person\n  1: dog\n"
PEOPLE = [Category("person", source_id="1", supercategory="life"), Category("dog")]


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files; images are given as ``""`` (readers do not open them)."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def take(
    path: Path, on_error: str = "fail", images: Path | None = None, **options: Any
) -> tuple[Dataset, Intake]:
    """Read a tree; the intake has findings and sources."""
    intake = Intake(Findings(on_error), images=images)  # type: ignore[arg-type]
    return read_into(MemoryBuilder(), Yolo(), path, intake, options=options), intake


def read(path: Path, on_error: str = "fail", **options: Any) -> Dataset:
    return take(path, on_error, **options)[0]


def keys(dataset: Dataset) -> list[str]:
    return list(dataset.samples(["key"])["key"].to_pylist())


def splits(dataset: Dataset) -> dict[str, str | None]:
    table = dataset.samples(["key", "split"])
    return dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))


def annotations(dataset: Dataset, key: str) -> list[rows.Annotation]:
    return dataset[key].annotations


def places(intake: Intake) -> list[tuple[str, str, str | None]]:
    """Code, file and place of each finding."""
    return [(f.code, f.path, f.place) for f in intake.findings.items]


def made(*listed: Annotation, categories: Any = PEOPLE, **values: Any) -> Dataset:
    """One image of 100 x 80 pixels."""
    sample = Sample("a.jpg", width=100, height=80, annotations=list(listed), **values)
    return Dataset.from_rows([sample], categories)


def write(dataset: Dataset, target: Path, *allow: str, **options: Any) -> LossReport:
    return write_dataset(dataset, target, "yolo", allow_loss=allow, options=options)


def labels(target: Path, name: str = "train/a") -> str:
    return (target / f"labels/{name}.txt").read_text()


def data(target: Path) -> Any:
    return yaml.safe_load((target / "data.yaml").read_text())
