"""What the suites of formats share: examples, writing, reading, drawing, damaging."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

from granum.errors import GranumError, MissingExtraError
from granum.loaders.base import Format, formats
from granum.loaders.writing import write_dataset
from granum.schema.findings import OnError
from granum.schema.losses import KINDS, LossReport
from granum.store.dataset import Dataset
from granum.testing.junk import CORRUPTIONS
from granum.testing.keep import read_back, refuse_or_keep
from granum.testing.media import with_maps, with_media
from granum.testing.strategies import datasets

try:
    from hypothesis import HealthCheck, Phase, given, settings
except ImportError as error:  # pragma: no cover (there is nothing to test it with)
    raise MissingExtraError("granum.testing.bench", "dev", "hypothesis") from error

__all__ = ["Bench", "Keeps", "tree"]

LONG = bool(os.environ.get("GRANUM_TEST_LONG"))
"""Twenty times as many drawn datasets (``make test-long``)."""


@dataclass(frozen=True)
class Keeps:
    """Something that a format must keep, so that it does not pass by refusing.

    Attributes:
        columns: names that must survive together (as in ``Format.keeps``; ``table.column`` where
            only one table's).
        kinds: kinds of annotations.
        options: options of the writer.
        limits: further arguments of ``datasets``, for the format's finer limits.
    """

    columns: Collection[str]
    kinds: Collection[str] = ("object",)
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "+".join([*self.kinds, *self.columns])


class Bench:
    """What the tests of a format share; its attributes are explained at ``FormatSuite``."""

    name: ClassVar[str]
    least: ClassVar[Sequence[Keeps]] = ()
    write_options: ClassVar[Mapping[str, Any]] = {}
    read_options: ClassVar[Mapping[str, Any]] = {}
    target: ClassVar[str] = "out"
    media: ClassVar[str | None] = None
    examples: ClassVar[int] = 6
    shrink: ClassVar[bool] = False

    @property
    def format(self) -> Format:
        return formats[self.name]()

    def example(self, folder: Path) -> Dataset:
        """A small dataset that the format writes."""
        needed = self.least[0] if self.least else Keeps(self.format.keeps, KINDS)
        key = f"{type(self).__module__}.{type(self).__qualname__}"
        if key not in _EXAMPLES:
            limits = {"min_samples": 2, "max_samples": 3, **needed.limits}
            _EXAMPLES[key] = _first(self.ordinary(needed, limits))
        return self.placed(_EXAMPLES[key], folder)

    def ordinary(self, needed: Keeps, limits: Mapping[str, Any]) -> Any:
        """A strategy for usual datasets of what is needed."""
        columns = {*needed.columns, *needed.kinds}
        return datasets(columns, needed.kinds, **{"plain": True, **limits})

    def placed(self, dataset: Dataset, folder: Path) -> Dataset:
        """``dataset`` with the images and label maps that writing may need."""
        return with_media(with_maps(dataset, folder / "maps"), folder / "media")

    def write(
        self,
        dataset: Dataset,
        target: Path,
        *,
        allow_loss: Collection[str] = ("all",),
        overwrite: bool = False,
        dry_run: bool = False,
        media: str | None = None,
        **options: Any,
    ) -> LossReport:
        media = media or self.media or ("copy" if self.format.media_is_data else "none")
        target.parent.mkdir(parents=True, exist_ok=True)
        given = {**self.write_options, **(self.least[0].options if self.least else {}), **options}
        return write_dataset(
            dataset,
            target,
            self.name,
            allow_loss=allow_loss,
            media=media,
            overwrite=overwrite,
            dry_run=dry_run,
            options=given,
        )

    def read(self, path: Path, on_error: OnError = "fail") -> Dataset:
        return read_back(self.name, path, self.read_options, on_error)

    def check(
        self, dataset: Dataset, folder: Path, must_keep: bool = False, **options: Any
    ) -> bool:
        """``refuse_or_keep`` with this suite's options."""
        return refuse_or_keep(
            self.name,
            dataset,
            folder,
            must_keep=must_keep,
            read_options=self.read_options,
            **{"target": self.target, "media": self.media, **self.write_options, **options},
        )

    def drawn(self, test: Callable[[Dataset], None], strategy: Any, share: int = 1) -> None:
        """Run ``test`` on datasets of ``strategy``; the same ones every time.

        ``share``: how many such tests share the number of examples.
        """
        phases = [Phase.generate, *([Phase.shrink] if self.shrink else [])]
        configured = settings(
            derandomize=True,
            max_examples=max(8, self.examples // share) * (20 if LONG else 1),
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        drawn: Any = given
        configured(drawn(strategy)(test))()

    def damaged(self, target: Path, how: str) -> None:
        """Damage some files of a tree, one at a time, and read it."""
        everything = sorted(p for p in [target, *target.rglob("*")] if p.is_file())
        chosen = random.Random(0).sample(everything, min(8, len(everything)))
        for path in sorted(chosen):
            content = path.read_bytes()
            for damaged in CORRUPTIONS[how](content):
                path.unlink()
                if damaged is not None:
                    path.write_bytes(damaged)
                for policy in get_args(OnError):
                    self.survives(target, policy, f"{path.name} {how}")
                path.write_bytes(content)

    def survives(self, target: Path, policy: OnError, title: str) -> None:
        try:
            dataset = self.read(target, policy)
            for name in dataset.meta.layers:
                dataset.annotations(layer=name)
        except GranumError as error:
            assert str(error), title
            json.dumps(error.details())
        except Exception as error:
            raise AssertionError(
                f"{title}, under {policy}: {type(error).__name__}: {error}"
            ) from error


_EXAMPLES: dict[str, Dataset] = {}


def tree(folder: Path) -> dict[str, bytes]:
    """Files below ``folder`` and what is in them; a link counts by its target's content."""
    found = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in found}


def _first(strategy: Any) -> Dataset:
    """A dataset of ``strategy`` with annotations; the same one every time."""
    found: list[Dataset] = []

    @settings(
        derandomize=True,
        max_examples=10,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(dataset: Dataset) -> None:
        found.append(dataset)

    look()
    return max(found, key=lambda d: (min(d.num_annotations, 5), len(d)))
