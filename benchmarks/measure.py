"""Run commands side by side and measure their time and memory; a library and a command.

    python benchmarks/measure.py --name try --runs 5 "a=command one" "b=command two"

Only the standard library is imported: the size of this process when it starts a child is a floor of
the child's `ru_maxrss`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from report import save, table

Figures = dict[str, float]


class MeasureError(RuntimeError):
    """A measured command failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    Attributes:
        wall_s: Seconds from start to end.
        user_s: Processor seconds in the program, of the whole tree of processes.
        system_s: Processor seconds in the kernel, of the whole tree of processes.
        private_mb: Peak of the anonymous memory of the whole tree, sampled; pages of mapped
            files are not part of it.
        maxrss_mb: Largest resident size of any one process, mapped files included.
        reported: Numbers of the JSON object that the command printed last, if it did.
    """

    wall_s: float
    user_s: float
    system_s: float
    private_mb: float
    maxrss_mb: float
    reported: Figures = field(default_factory=dict)

    def figures(self) -> Figures:
        """Return every figure by name; `cpu_s` is user and system together."""
        own = {k: v for k, v in asdict(self).items() if k != "reported"}
        figures = {**own, "cpu_s": self.user_s + self.system_s, **self.reported}
        return {k: round(v, 6) for k, v in figures.items()}


def process_tree(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
    return found


def private_kb(pid: int) -> int:
    """Return the anonymous memory of a process and its descendants, in KiB.

    For one process it is `RssAnon` of its status: the same pages as `Anonymous` of
    `smaps_rollup`, which takes 13 ms for 1.5 GB and holds a lock of the measured process
    meanwhile. For several it is their `Pss_Anon`, so that pages they share are counted once.
    """
    pids = process_tree(pid)
    name, key = ("status", "RssAnon:") if len(pids) == 1 else ("smaps_rollup", "Pss_Anon:")
    total = 0
    for each in pids:
        with contextlib.suppress(OSError):  # it ended meanwhile
            text = Path(f"/proc/{each}/{name}").read_text()
            total += int(text.partition(key)[2].split(maxsplit=1)[0]) if key in text else 0
    return total


def _sample(pid: int, interval: float, ended: threading.Event, peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], private_kb(pid))
        if ended.wait(interval):
            return


def _tail(file: IO[bytes], size: int = 4000) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - size))
    return file.read().decode(errors="replace").strip()


def _reported(text: str) -> Figures:
    with contextlib.suppress(ValueError):
        found = json.loads(text.rpartition("\n")[2])
        if isinstance(found, dict):
            return {k: v for k, v in found.items() if isinstance(v, int | float)}
    return {}


def measure(command: Sequence[str], interval: float = 0.05) -> Run:
    """Run a command in a session of its own and measure it.

    Args:
        command: The program and its arguments.
        interval: Seconds between two samples of the memory.

    Returns:
        What it took.

    Raises:
        MeasureError: The command did not exit with 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        ended, peak = threading.Event(), [0]
        thread = threading.Thread(target=_sample, args=(process.pid, interval, ended, peak))
        thread.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            ended.set()
            thread.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told = _tail(err) or _tail(out)
            raise MeasureError(f"exit {process.returncode}: {shlex.join(command)}\n{told}")
        maxrss, private = used.ru_maxrss * 1024 / 1e6, peak[0] * 1024 / 1e6
        reported = _reported(_tail(out))
    return Run(wall, used.ru_utime, used.ru_stime, private, maxrss, reported)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs of some commands, by name, and what they are compared with."""

    commands: Mapping[str, Sequence[str]]
    runs: Mapping[str, Sequence[Run]]
    reference: str

    def spread(self, name: str) -> dict[str, dict[str, float]]:
        """Return min, median and max of each figure of a command."""
        runs = [run.figures() for run in self.runs[name]]
        columns = {key: [run[key] for run in runs if key in run] for key in runs[0]}
        return {
            key: {"min": min(c), "median": round(statistics.median(c), 6), "max": max(c)}
            for key, c in columns.items()
        }

    def ratios(self, name: str) -> Figures:
        """Return the medians of a command over those of the reference."""
        base, own = self.spread(self.reference), self.spread(name)
        return {
            key: round(own[key]["median"] / base[key]["median"], 4)
            for key in own
            if key in base and base[key]["median"]
        }

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {
            name: {
                "command": shlex.join(command),
                "spread": self.spread(name),
                f"ratio_to_{self.reference}": self.ratios(name),
                "runs": [run.figures() for run in self.runs[name]],
            }
            for name, command in self.commands.items()
        }


def compare(
    commands: Mapping[str, Sequence[str]],
    runs: int = 5,
    warmup: int = 1,
    *,
    reference: str | None = None,
    before: Callable[[], None] | None = None,
    at_most: Mapping[str, int] | None = None,
    interval: float = 0.05,
) -> Comparison:
    """Run commands in turn, A B C A B C …, and measure each run.

    Args:
        commands: The commands by name; `{run}` in a part becomes the number of the round, for
            those that must not find what the last round wrote.
        runs: How many measured runs of each.
        warmup: How many rounds to run before, unmeasured.
        reference: What ratios are taken to; the first command if not given.
        before: Called before each run, outside of its time: removes what a run has left.
        at_most: Fewer measured runs for the commands named.
        interval: Seconds between two samples of the memory.

    Returns:
        All measured runs.
    """
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(-warmup, runs):
        for name, command in commands.items():
            if number >= (at_most or {}).get(name, runs):
                continue
            if before:
                before()
            os.sync()
            run = measure([x.replace("{run}", str(number + warmup)) for x in command], interval)
            print(f"{name} {max(number + 1, 0)}/{runs}: {run.wall_s:.2f} s", file=sys.stderr)
            if number >= 0:
                found[name].append(run)
    return Comparison(commands, found, reference or next(iter(commands)))


def main() -> None:
    """Compare the commands given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--name", help="of the file to write; without it, only print")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--reference", help="the command ratios are taken to; the first one")
    args = parser.parse_args()
    pairs = (text.partition("=") for text in args.commands)
    commands = {name: shlex.split(command) for name, _, command in pairs}
    comparison = compare(commands, args.runs, args.warmup, reference=args.reference)
    print(table(comparison))
    if args.name:
        print(save(args.name, comparison))


if __name__ == "__main__":
    main()
