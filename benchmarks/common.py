"""What the benchmarks share: options, made files, commands that may be missing, results."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from measure import Comparison, compare
from report import RESULTS, save, table

SMALL = ["--images", "1182", "--annotations", "8600"]  # a hundredth of the full size
Order = Literal["shuffled", "sorted", "annotations-first"]


def script(name: str) -> str:
    """Return the path of a command installed beside this interpreter."""
    return str(Path(sys.executable).parent / name)


def granum(*arguments: str | Path) -> list[str]:
    """Return a command line of granum."""
    return [script("granum"), *map(str, arguments)]


def convert(source: Path, target: Path, *more: str) -> list[str]:
    """Return the command line of a conversion by granum."""
    return granum("convert", source, target, *more, "--overwrite", "--no-progress")


def python(code: str, *arguments: str | Path) -> list[str]:
    """Return a command line that runs Python code."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def remove(*paths: Path) -> None:
    """Remove files and folders, those that there are."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Options:
    """Options every benchmark has.

    Attributes:
        data: Where made files go.
        results: Where the result goes.
        runs: How many measured runs.
        warmup: How many rounds before.
        small: Whether files are a hundredth of their size.
        peers: A virtual environment with peers that cannot be in this one.
    """

    data: Path
    results: Path
    runs: int
    warmup: int
    small: bool
    peers: Path | None

    def coco(self, order: Order = "shuffled") -> Path:
        """Return the COCO file of an order, made on the first call."""
        path = self.data / f"{order.replace('-', '_')}.json"
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            maker = Path(__file__).with_name("make_coco.py")
            command = [sys.executable, str(maker), str(path), "--order", order]
            subprocess.run(command + (SMALL if self.small else []), check=True)
        return path

    def store(self) -> Path:
        """Import the shuffled COCO file by granum, anew, and return the store."""
        if not Path(script("granum")).exists():
            raise SystemExit("granum is not installed in this environment")
        path = self.data / "x.granum"
        subprocess.run(convert(self.coco(), path), check=True)
        return path

    def run(
        self,
        name: str,
        commands: Mapping[str, Sequence[str]],
        *,
        before: Callable[[], None] | None = None,
        notes: dict[str, Any] | None = None,
        at_most: Mapping[str, int] | None = None,
        interval: float = 0.05,
    ) -> Comparison:
        """Compare the commands that are installed with the first; print and write the result."""
        there = {k: v for k, v in commands.items() if _installed(k, v)}
        missing = sorted(commands.keys() - there.keys())
        if missing:
            print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
        comparison = compare(
            there, self.runs, self.warmup, before=before, at_most=at_most, interval=interval
        )
        print(table(comparison))
        notes = {**(notes or {}), "small": self.small, "left_out": missing}
        print(save(name, comparison, self.results, notes))
        return comparison


def _installed(name: str, command: Sequence[str]) -> bool:
    known = name not in {"hotcoco", "pycocotools"} or importlib.util.find_spec(name) is not None
    return known and shutil.which(command[0]) is not None


def options(about: str | None, runs: int = 5) -> Options:
    """Read the options of a benchmark from the command line.

    Args:
        about: The benchmark's docstring, whose first line `--help` shows.
        runs: How many measured runs unless told.

    Returns:
        The options; the folder of made files exists and git ignores it.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="for made files")
    parser.add_argument("--results", type=Path, help="folder; benchmarks/results if not small")
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="100 times smaller, to try it")
    parser.add_argument("--peers", type=Path, help="a virtual environment that has datumaro")
    args = parser.parse_args()
    data = args.data / "small" if args.small else args.data
    data.mkdir(parents=True, exist_ok=True)
    (args.data / ".gitignore").write_text("*\n")
    results = args.results or (data / "results" if args.small else RESULTS)
    return Options(data, results, args.runs, args.warmup, args.small, args.peers)
