"""The tests that every format runs, built-in or plug-in: inherit ``FormatSuite``."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

from granum.errors import ExistsError, GranumError, MissingExtraError, UsageError
from granum.loaders.base import Format, formats
from granum.loaders.reading import sniff
from granum.loaders.writing import account, write_dataset
from granum.schema import tables
from granum.schema.findings import OnError
from granum.schema.losses import KINDS, NAMES, LossReport
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.testing.junk import CORRUPTIONS, junk
from granum.testing.keep import read_back, refuse_or_keep
from granum.testing.media import with_maps, with_media
from granum.testing.small import small_datasets
from granum.testing.strategies import datasets, datasets_of

try:
    import pytest
    from hypothesis import HealthCheck, Phase, given, settings
except ImportError as error:  # pragma: no cover (there is nothing to test it with)
    raise MissingExtraError("granum.testing.suite", "dev", "pytest and hypothesis") from error

__all__ = ["FormatSuite", "Keeps", "refuse_or_keep"]


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


class _Bench:
    """What the tests of a format share; its attributes are explained at ``FormatSuite``."""

    name: ClassVar[str]
    least: ClassVar[Sequence[Keeps]] = ()
    write_options: ClassVar[Mapping[str, Any]] = {}
    read_options: ClassVar[Mapping[str, Any]] = {}
    target: ClassVar[str] = "out"
    media: ClassVar[str | None] = None
    examples: ClassVar[int] = 25
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
            max_examples=max(8, self.examples // share),
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        drawn: Any = given
        configured(drawn(strategy)(test))()

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


class FormatSuite(_Bench):
    """Inherit, set ``name``, and pytest runs the suite on your format.

    Attributes:
        name: the registered name.
        least: what it must keep; each must be written without ``LossError`` and come back.
        write_options: options for every write.
        read_options: options for every reading.
        target: name of the folder or file that is written.
        media: the media mode; None for ``copy`` where the format is made of images.
        examples: how many drawn datasets per test.
        shrink: whether a failing dataset is made smaller first, which takes minutes.
    """

    # ------------------------------------------------------------------ the promise

    @pytest.mark.parametrize("what", list(small_datasets()))
    def test_refuses_or_keeps(self, tmp_path: Path, what: str) -> None:
        self.check(small_datasets()[what], tmp_path)

    def test_refuses_or_keeps_anything(self, tmp_path: Path) -> None:
        def test(dataset: Dataset) -> None:
            self.check(dataset, tmp_path)

        self.drawn(test, datasets())

    def test_refuses_or_keeps_its_own(self, tmp_path: Path) -> None:
        def test(dataset: Dataset) -> None:
            self.check(dataset, tmp_path)

        self.drawn(test, datasets_of(self.format))

    def test_keeps_the_least(self, tmp_path: Path) -> None:
        """What it must keep is written without losses and comes back equal."""
        for needed in self.least:

            def test(dataset: Dataset) -> None:
                try:
                    self.check(dataset, tmp_path, must_keep=True, **needed.options)  # noqa: B023
                except AssertionError as error:
                    raise AssertionError(f"{needed}: {error}") from error  # noqa: B023

            self.drawn(test, self.ordinary(needed, needed.limits), len(self.least))

    def test_keeps_are_known(self) -> None:
        """``keeps`` and ``tolerance`` speak of names that there are."""
        assert self.format.keeps <= NAMES
        assert set(self.format.tolerance) <= {*tables.ANNOTATIONS.names}

    def test_keeps_are_kept(self, tmp_path: Path) -> None:
        """Of every name in ``keeps`` something is kept of some dataset."""
        missing = set(self.format.keeps)
        for options in [{}, *(needed.options for needed in self.least)]:
            for what, dataset in small_datasets().items() if missing else ():
                placed = with_maps(dataset, tmp_path / what)
                if self.format.media_is_data:
                    placed = with_media(placed, tmp_path / what)
                try:
                    report = account(placed, self.format, {**self.write_options, **options})
                except GranumError:
                    continue  # sizes that nothing tells
                missing -= {r.name or "record" for r in report.rows if r.kept + r.changed}
        assert not missing, f"{self.name} says that it keeps {sorted(missing)}"

    # ------------------------------------------------------------------ recognition

    def test_sniffs_its_own(self, tmp_path: Path) -> None:
        self.write(self.example(tmp_path), tmp_path / "w" / self.target)
        found = sniff(tmp_path / "w" / self.target)
        assert list(found) == [self.name], found
        assert found[self.name]

    @pytest.mark.parametrize("what", list(junk()))
    def test_sniffs_no_junk(self, tmp_path: Path, what: str) -> None:
        make, is_data = junk()[what]
        why = self.format.sniff(make(tmp_path))
        assert why is None or (is_data and isinstance(why, str)), why

    # ------------------------------------------------------------------ manners

    def test_refuses_unknown_options(self, tmp_path: Path) -> None:
        dataset = self.example(tmp_path)
        with pytest.raises(UsageError, match="no_such_option"):
            self.write(dataset, tmp_path / "w" / self.target, no_such_option=1)
        assert not list((tmp_path / "w").iterdir())
        self.write(dataset, tmp_path / "w" / self.target)
        with pytest.raises(UsageError, match="no_such_option"):
            read_back(self.name, tmp_path / "w" / self.target, {"no_such_option": 1})

    def test_overwrites_only_when_asked(self, tmp_path: Path) -> None:
        dataset, target = self.example(tmp_path), tmp_path / "w" / self.target
        self.write(dataset, target)
        before = tree(target.parent)
        with pytest.raises(ExistsError):
            self.write(dataset.select([]), target)
        assert tree(target.parent) == before
        self.write(dataset.select([0]), target, overwrite=True)
        assert len(self.read(target)) == 1
        assert list(target.parent.iterdir()) == [target]

    def test_dry_run_writes_nothing(self, tmp_path: Path) -> None:
        dataset, target = self.example(tmp_path), tmp_path / "w" / self.target
        said = self.write(dataset, target, dry_run=True)
        assert not list(target.parent.iterdir())
        assert self.write(dataset, target).to_dict() == said.to_dict()

    def test_writes_one_file(self, tmp_path: Path) -> None:
        """Where the format may be one file, that keeps or refuses, too."""
        for suffix in self.format.single:
            for dataset in (self.example(tmp_path), small_datasets()["nothing"]):
                self.check(dataset, tmp_path, target=f"one{suffix}")

    @pytest.mark.parametrize("mode", ["copy", "link", "hardlink"])
    def test_places_media(self, tmp_path: Path, mode: str) -> None:
        """Each image is in the target, once, with the bytes it had."""
        dataset, target = self.example(tmp_path), tmp_path / "w" / self.target
        self.write(dataset, target, media=mode)
        files = [p for p in target.rglob("*") if p.is_file()]
        for one in dataset.samples(["media"])["media"].to_pylist():
            source = tmp_path / "media" / one["path"]
            (placed,) = [p for p in files if p.read_bytes() == source.read_bytes()]
            assert placed.is_symlink() == (mode == "link")
            assert placed.samefile(source) == (mode != "copy")
        assert len(self.read(target)) == len(dataset)

    @pytest.mark.parametrize("how", [OSError, KeyboardInterrupt])
    def test_failing_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
    ) -> None:
        """A full disk or an interrupt at any file leaves what was there."""
        dataset, target = self.example(tmp_path), tmp_path / "w" / self.target
        self.write(dataset, target)
        before, files = tree(target.parent), len(tree(target))
        place = Out.path
        for nth in {0, 1, files - 1} & {*range(files)}:
            calls = iter(range(10**6))

            def failing(out: Out, name: Any, nth: int = nth, calls: Any = calls) -> Path:
                if next(calls) == nth:
                    raise how("no space left on device")
                return place(out, name)

            monkeypatch.setattr(Out, "path", failing)
            fresh = tmp_path / f"fresh {nth}" / self.target
            with pytest.raises(how):
                self.write(dataset, fresh)
            assert not list(fresh.parent.iterdir())
            calls = iter(range(10**6))
            monkeypatch.setattr(Out, "path", lambda o, n, nth=nth, c=calls: failing(o, n, nth, c))
            with pytest.raises(how):
                self.write(dataset, target, overwrite=True)
            monkeypatch.setattr(Out, "path", place)
            assert tree(target.parent) == before

    # ------------------------------------------------------------------ bad input

    @pytest.mark.parametrize("how", list(CORRUPTIONS))
    def test_malformed_files_are_told(self, tmp_path: Path, how: str) -> None:
        """A damaged file is a finding or a ``GranumError``, under every policy."""
        target = tmp_path / "w" / self.target
        self.write(self.example(tmp_path), target)
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
