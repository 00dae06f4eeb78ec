"""A killed writer leaves the old state or the new one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from granum.errors import StoreError
from granum.store import disk
from granum.store.builder import open_dataset
from granum.store.dataset import Dataset
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


def start(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "new"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begins\n"
    return writer


@pytest.fixture(scope="module")
def duration(tmp_path_factory):
    """How long an undisturbed write takes here."""
    writer = start(tmp_path_factory.mktemp("timed") / "t.granum")
    began = time.perf_counter()
    assert writer.wait() == 0
    return time.perf_counter() - began


@pytest.mark.parametrize("number", range(8))
def test_killed_while_replacing(tmp_path, duration, number):
    path = tmp_path / "s.granum"
    Dataset.from_rows([sample(f"old {i}", box(None)) for i in range(3)]).save(path)
    writer = start(path)
    # Spread over the whole write and a little beyond, so that both ends are met.
    time.sleep(duration * (number + random.Random(number).random()) / 7.5)
    writer.send_signal(signal.SIGKILL)
    said = writer.communicate()[0]
    found = state(path)
    if "done" in said:
        assert found == "new"
    # The next writer is not disturbed by what the killed one left, and gc removes that.
    writer = start(path)
    assert writer.wait() == 0
    assert state(path) == "new"
    disk.Store.open(path).gc(keep=1, older_than=-1)
    assert state(path) == "new"
    left = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    store = disk.Store.open(path)
    assert left == {*store.files(), f"manifest-{store.number:06d}.json"}


@pytest.mark.parametrize("number", range(2))
def test_killed_while_making(tmp_path, duration, number):
    path = tmp_path / "s.granum"
    writer = start(path)
    time.sleep(duration * (number + 0.5) / 3)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    try:
        assert state(path) == "new"
    except StoreError as error:
        assert "interrupted" in str(error) or "no granum store" in str(error)
    writer = start(path)
    assert writer.wait() == 0
    assert state(path) == "new"
