"""A killed writer leaves the old state or the new one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from granum.errors import StoreError
from granum.store import disk
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from tests.store.make import box, sample

WRITER = """
import sys
from granum.schema import rows
from granum.store import builder
from granum.store.builder import StoreBuilder, batch_of_rows

path, name = sys.argv[1:]
builder.PART_SAMPLES = 5
print("begins", flush=True)
build = StoreBuilder(path, overwrite=True)
for i in range(60):
    boxes = [rows.Annotation(bbox=(0.0, 0.0, 1.0, float(j))) for j in range(10)]
    build.add(batch_of_rows([rows.Sample(f"{name} {i}", annotations=boxes)]))
build.finish()
print("done", flush=True)
"""


def state(path):
    """The prefix of all keys, after reading everything there is."""
    dataset = open_dataset(path)
    names = {k.partition(" ")[0] for k in dataset.samples(["key"])["key"].to_pylist()}
    assert len(names) == 1
    assert dataset.annotations().num_rows == {"old": 3, "new": 600}[next(iter(names))]
    return names.pop()


@contextmanager
def writing(path):
    """A writer that has begun."""
    command = [sys.executable, "-c", WRITER, str(path), "new"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begins\n"
        yield writer


def written(path):
    with writing(path) as writer:
        assert writer.wait() == 0
    assert state(path) == "new"


def killed(path, after):
    """What a writer said that was killed ``after`` seconds."""
    with writing(path) as writer:
        time.sleep(after)
        writer.send_signal(signal.SIGKILL)
        return writer.communicate()[0]


@pytest.fixture(scope="module")
def duration(tmp_path_factory):
    """How long an undisturbed write takes here."""
    with writing(tmp_path_factory.mktemp("timed") / "t.granum") as writer:
        began = time.perf_counter()
        assert writer.wait() == 0
        return time.perf_counter() - began


@pytest.mark.parametrize("number", range(8))
def test_killed_while_replacing(tmp_path, duration, number):
    path = tmp_path / "s.granum"
    Dataset.from_rows([sample(f"old {i}", box(None)) for i in range(3)]).save(path)
    # Spread over the whole write and a little beyond, so that both ends are met.
    said = killed(path, duration * (number + random.Random(number).random()) / 7.5)
    assert state(path) == "new" if "done" in said else state(path)
    # The next writer is not disturbed by what the killed one left, and gc removes that.
    written(path)
    disk.Store.open(path).gc(keep=1, older_than=-1)
    assert state(path) == "new"
    left = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    store = disk.Store.open(path)
    assert left == {*store.files(), f"manifest-{store.number:06d}.json"}


@pytest.mark.parametrize("number", range(2))
def test_killed_while_making(tmp_path, duration, number):
    path = tmp_path / "s.granum"
    killed(path, duration * (number + 0.5) / 3)
    try:
        assert state(path) == "new"
    except StoreError as error:
        assert "interrupted" in str(error) or "no granum store" in str(error)
        written(path)
