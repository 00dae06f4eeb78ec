"""The tests that every format runs, built-in or plug-in: inherit ``FormatSuite``, or
``ReaderSuite`` where it is only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from granum.errors import ExistsError, GranumError, MissingExtraError, UsageError
from granum.loaders.reading import sniff
from granum.loaders.writing import account
from granum.schema import tables
from granum.schema.losses import NAMES
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.testing.bench import Bench, Keeps, tree
from granum.testing.junk import CORRUPTIONS, junk
from granum.testing.keep import read_back, refuse_or_keep
from granum.testing.media import with_maps, with_media
from granum.testing.small import small_datasets
from granum.testing.strategies import datasets, datasets_of

try:
    import pytest
except ImportError as error:  # pragma: no cover (there is nothing to test it with)
    raise MissingExtraError("granum.testing.suite", "dev", "pytest") from error

__all__ = ["FormatSuite", "Keeps", "ReaderSuite", "refuse_or_keep"]


class FormatSuite(Bench):
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
        if self.format.media_inside:
            self.embeds(dataset, target, mode)
            return
        self.write(dataset, target, media=mode)
        files = [p for p in target.rglob("*") if p.is_file()]
        for one in dataset.samples(["media"])["media"].to_pylist():
            source = tmp_path / "media" / one["path"]
            (placed,) = [p for p in files if p.read_bytes() == source.read_bytes()]
            assert placed.is_symlink() == (mode == "link")
            assert placed.samefile(source) == (mode != "copy")
        assert len(self.read(target)) == len(dataset)

    def embeds(self, dataset: Dataset, target: Path, mode: str) -> None:
        """Images go into the files, with the bytes they had; a link cannot."""
        if mode != "copy":
            with pytest.raises(UsageError, match="copy"):
                self.write(dataset, target, media=mode)
            return
        self.write(dataset, target, media=mode)
        root = Path(dataset.meta.media_root or "")
        back = {s.key: s.row.media for s in self.read(target)}
        for sample in (s.row for s in dataset):
            found = back[sample.key]
            assert found is not None and sample.media is not None and sample.media.path is not None
            assert found.bytes == (root / sample.media.path).read_bytes()

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
        self.damaged(target, how)


class ReaderSuite(Bench):
    """For formats that are only read: inherit, set ``name``, and override ``make``.

    Attributes:
        name: the registered name.
        read_options: options for every reading.
    """

    def make(self, folder: Path) -> Path:
        """A small tree of the format below ``folder``, typed from its specification; returns what
        is to be read. It must not be made by a writer of ours."""
        raise NotImplementedError

    def test_reads_something(self, tmp_path: Path) -> None:
        """There are samples, nothing is found wrong, and only what is in ``keeps`` is filled."""
        dataset = self.read(self.make(tmp_path))
        assert len(dataset)
        kinds = dataset.annotations(["kind"])["kind"].unique().to_pylist()
        assert {*kinds} <= self.format.keeps, kinds

    def test_keeps_are_known(self) -> None:
        """``keeps`` speaks of names that there are."""
        assert self.format.keeps <= NAMES
        assert not self.format.writes(), "a format that writes runs FormatSuite"

    def test_sniffs_its_own(self, tmp_path: Path) -> None:
        found = sniff(self.make(tmp_path))
        assert list(found) == [self.name], found
        assert found[self.name]

    @pytest.mark.parametrize("what", list(junk()))
    def test_sniffs_no_junk(self, tmp_path: Path, what: str) -> None:
        make, is_data = junk()[what]
        why = self.format.sniff(make(tmp_path))
        assert why is None or (is_data and isinstance(why, str)), why

    def test_refuses_unknown_options(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no_such_option"):
            read_back(self.name, self.make(tmp_path), {"no_such_option": 1})

    @pytest.mark.parametrize("how", list(CORRUPTIONS))
    def test_malformed_files_are_told(self, tmp_path: Path, how: str) -> None:
        """A damaged file is a finding or a ``GranumError``, under every policy."""
        self.damaged(self.make(tmp_path), how)
