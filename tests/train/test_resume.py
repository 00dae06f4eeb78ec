"""Killed at any step, continued with any workers: the same samples, the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from granum.errors import ExistsError, UsageError
from tests.train.tiny import Linear, stored

torch = pytest.importorskip("torch")

from tests.train import runs  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def lines(out: Path) -> list[dict[str, Any]]:
    """The log; the last line may be half written where the run was killed."""
    text = (out / "log.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rindex("\n")].splitlines()]


def steps(out: Path) -> list[dict[str, Any]]:
    return [line for line in lines(out) if "step" in line]


def samples(out: Path) -> list[list[int]]:
    return [line["samples"] for line in steps(out)]


def weights(out: Path) -> dict[str, Any]:
    return torch.load(out / "checkpoint.pt", weights_only=True)["model"]


def same_weights(a: Path, b: Path) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def started(store: Path, out: Path, env: dict[str, str] | None = None, **options: Any) -> Any:
    command = [sys.executable, "-m", "tests.train.runs", str(store), str(out), json.dumps(options)]
    alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **alone, **(env or {})}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A store, and a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    stored(folder / "s.granum")
    runs.run(folder / "s.granum", folder / "run")
    yield folder / "s.granum", folder / "run"


def test_each_epoch_sees_each_sample_once(whole: tuple[Path, Path]) -> None:
    taken = samples(whole[1])
    assert [line["step"] for line in steps(whole[1])] == list(range(18))
    for epoch in range(3):
        assert sorted(i for b in taken[6 * epoch : 6 * epoch + 6] for i in b) == list(range(24))
    assert taken[:6] != taken[6:12]


class _KilledError(Exception):
    pass


def interrupted(store: Path, out: Path, after: int, **options: Any) -> None:
    """A run that dies when its log has ``after`` steps, whatever its checkpoint has."""

    def progress(done: int, total: int, loss: float) -> None:
        if done >= after:
            raise _KilledError

    with pytest.raises(_KilledError):
        runs.run(store, out, progress=progress, **options)


@pytest.mark.parametrize("after", [1, 2, 5, 6, 7, 12, 17])
def test_it_goes_on_as_if_nothing_had_been(
    whole: tuple[Path, Path], tmp_path: Path, after: int
) -> None:
    store, reference = whole
    interrupted(store, tmp_path / "run", after)
    runs.run(store, tmp_path / "run", resume=True)
    assert samples(tmp_path / "run") == samples(reference)
    assert same_weights(tmp_path / "run", reference)

    def told(out: Path) -> list[Any]:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines(out)]

    assert told(tmp_path / "run") == told(reference)
    states = [
        torch.load(o / "checkpoint.pt", weights_only=True) for o in (tmp_path / "run", reference)
    ]
    assert torch.equal(*[s["seen"].nan_to_num(-1) for s in states])
    best = [torch.load(o / "model.pt", weights_only=True) for o in (tmp_path / "run", reference)]
    assert all(torch.equal(best[0][k], best[1][k]) for k in best[0])


def test_it_may_be_interrupted_again_and_again(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store, reference = whole
    for after in (1, 3, 4, 9, 14, 16):
        interrupted(store, tmp_path / "run", after, resume=True)
    runs.run(store, tmp_path / "run", resume=True)
    assert samples(tmp_path / "run") == samples(reference)
    assert same_weights(tmp_path / "run", reference)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_process_goes_on(whole: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    """SIGKILL at a random step of a process, workers and all; continued by this process."""
    store, reference = whole
    after = random.Random().randrange(1, 13)
    process = started(store, tmp_path / "run", workers=workers)
    log = tmp_path / "run" / "log.jsonl"
    try:
        for _ in range(30_000):
            if log.exists() and log.read_bytes().count(b'"samples"') >= after:
                break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert after <= len(samples(tmp_path / "run")) < 18
    runs.run(store, tmp_path / "run", resume=True, workers=workers)
    assert samples(tmp_path / "run") == samples(reference), f"killed after {after} steps"
    assert same_weights(tmp_path / "run", reference), f"killed after {after} steps"


def test_two_processes_train_as_one(whole: tuple[Path, Path], tmp_path: Path) -> None:
    """Without dropout: equal order, equal gradients (up to the order of sums), equal losses."""
    store, _ = whole
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
    free.close()
    calm = {"batch_size": 5, "epochs": 2, "save_every": None}
    from granum.train.trainer import train

    train(stored(store), Linear(dropout=0.0), out=tmp_path / "one", **{**runs.PLAN, **calm})
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from granum.train.trainer import train\n"
        "from tests.train import runs, tiny\n"
        "train(tiny.stored(Path(sys.argv[1])), tiny.Linear(dropout=0.0), out=Path(sys.argv[2]),"
        " **{**runs.PLAN, **json.loads(sys.argv[3])})\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(store), str(tmp_path / "two"), json.dumps(calm)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            env={
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
            },
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()
    assert samples(tmp_path / "two") == samples(tmp_path / "one")
    for a, b in zip(steps(tmp_path / "two"), steps(tmp_path / "one"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    mine, theirs = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-4) for k in mine)
    seen = [
        torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["seen"]
        for n in ("two", "one")
    ]
    assert torch.allclose(*seen, rtol=1e-3, atol=1e-4) and not seen[0].isnan().any()
    records = [json.loads((tmp_path / n / "run.json").read_text()) for n in ("two", "one")]
    assert records[0]["environment"]["world"] == 2
    assert records[0]["best"]["loss"] == pytest.approx(records[1]["best"]["loss"], rel=1e-3)


def test_another_run_is_not_continued(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store, reference = whole
    with pytest.raises(ExistsError, match="resume=True"):
        runs.run(store, reference)
    with pytest.raises(UsageError, match=r"another run.*config"):
        runs.run(store, reference, resume=True, seed=8)
    # What only changes speed may change.
    done = runs.run(store, reference, resume=True, workers=1, log_every=5)
    assert done.record["steps"] == 18


def test_checkpoints_hold_tensors_and_plain_values_only(whole: tuple[Path, Path]) -> None:
    state = torch.load(whole[1] / "checkpoint.pt", weights_only=True)
    assert state["order"] == [7, 3, 18] and state["step"] == 18
    (whole[1].parent / "bad").mkdir(exist_ok=True)
    bad = whole[1].parent / "bad" / "checkpoint.pt"
    torch.save({"identity": Linear()}, bad)
    from granum.errors import GranumError

    with pytest.raises(GranumError, match="no checkpoint of ours"):
        runs.run(whole[0], bad.parent, resume=True)
