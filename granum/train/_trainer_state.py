"""What a run leaves on disk while it trains: a checkpoint and a log that agree with each other."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from granum.errors import ExistsError, GranumError, UsageError

__all__ = ["Journal", "save_atomically"]

CHECKPOINT, BEST, LOG = "checkpoint.pt", "best.pt", "log.jsonl"


def save_atomically(state: Any, path: Path) -> None:
    """``torch.save``, after which the file is the old one or the new one, whole and durable."""
    import torch

    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _load(path: Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise GranumError(f"{path} is no checkpoint of ours: {error}") from error


class Journal:
    """The folder of a run. Only the first rank writes.

    A checkpoint knows how long the log was; continuing cuts what was logged after it, so that
    the log has each step once.

    Args:
        folder: made where it is absent.
        identity: what decides the run; a checkpoint of another one is refused.
        resume: continue from the checkpoint there, if any.
        writes: whether this process writes.

    Raises:
        ExistsError: a run is there, and ``resume`` is false.
        UsageError: the run there is another one.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], *, resume: bool, writes: bool
    ) -> None:
        self.folder, self.identity, self.writes = folder, identity, writes
        self.checkpoint: dict[str, Any] | None = None
        there = folder / CHECKPOINT
        if there.exists() and not resume:
            raise ExistsError(f"{folder} has a run already: resume=True continues it")
        if there.exists():
            self.checkpoint = _load(there)
            self._check(json.loads(self.checkpoint["identity"]))
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            self._log = (folder / LOG).open("ab")
            self._log.truncate(self.checkpoint["log_bytes"] if self.checkpoint else 0)
            self._log.seek(0, os.SEEK_END)

    def _check(self, known: dict[str, Any]) -> None:
        mine = json.loads(json.dumps(self.identity))
        other = sorted(k for k in {*known, *mine} if known.get(k) != mine.get(k))
        if other:
            told = ", ".join(f"{k} ({known.get(k)!r} → {mine.get(k)!r})" for k in other)
            raise UsageError(f"{self.folder} holds another run, which cannot go on: {told[:500]}")

    def log(self, lines: list[dict[str, Any]]) -> None:
        """Append to the log."""
        if self.writes and lines:
            self._log.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._log.flush()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        if self.writes:
            os.fsync(self._log.fileno())
            told = {"identity": json.dumps(self.identity), "log_bytes": self._log.tell()}
            save_atomically({**state, **told}, self.folder / CHECKPOINT)

    def save_best(self, weights: dict[str, Any]) -> None:
        """Replace the best weights."""
        if self.writes:
            save_atomically(weights, self.folder / BEST)

    def best(self) -> dict[str, Any] | None:
        """The best weights so far."""
        path = self.folder / BEST
        return _load(path) if path.exists() else None

    def history(self) -> list[dict[str, Any]]:
        """The evaluations that were logged."""
        path = self.folder / LOG
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [line["validation"] for line in map(json.loads, lines) if "validation" in line]

    def close(self) -> None:
        if self.writes:
            self._log.close()
