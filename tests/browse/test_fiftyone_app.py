"""The FiftyOne App, in a browser, shows our images with their labels."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Media, Rle, Sample
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from tests.browse.browser import Browser, missing

WIDTH, HEIGHT = 64, 48
COLOURS = {"red": (220, 20, 20), "green": (20, 160, 20), "blue": (20, 20, 220)}

_SERVER = """
import sys
from granum.verbs.browse import browse
opened = browse(sys.argv[1], name="shown", port=int(sys.argv[2]))
print("READY", opened.url, flush=True)
sys.stdin.read()
opened.session.close()
"""

_MIDDLE = """
[...document.querySelectorAll('[data-cy="looker"] canvas')].map(c => {
  const p = c.getContext('2d').getImageData(c.width * 3 / 4, c.height / 4, 1, 1).data;
  return [p[0], p[1], p[2]];
})
"""

_COUNT = "document.querySelectorAll(`[data-cy='${arguments[0]}']`).length"

_OPEN_FILTERS = """
(arrow => arrow && arrow.dispatchEvent(new MouseEvent('click', {bubbles: true})))(
  document.querySelector('[data-cy="sidebar-field-arrow-enabled-truth"]'))
"""

_LIST_CLASSES = """
(input => { if (input) { input.focus(); } return input !== null; })(
  document.querySelector('[data-cy="selector-sidebar-search-truth.detections.label"]'))
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three plain images; the lower left of each is a masked box, with points and a label; and a
    layer of trees, each of them one region."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[24:44, 4:28] = True
    samples = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(tmp_path / f"{name}.png")
        sample = Sample(f"{name}.png", Media(f"{name}.png"), WIDTH, HEIGHT, split="train")
        sample.annotations = [
            Annotation(category=i % 2, bbox=(4, 24, 24, 20), rle=Rle(*geometry.encode_mask(mask))),
            Annotation("label", 2, present=True),
        ]
        samples.append(sample)
    categories = [Category("aardvark"), Category("zebra"), Category("sunset", space="scene")]
    made = Dataset.from_rows(samples, categories, media_root=tmp_path)
    whole = MaskTree.partition(np.zeros((HEIGHT, WIDTH), int), [-1])
    trees = [tree_rows(whole, i, 7 + i) for i in range(3)]
    add_layer(made.save(tmp_path / "s.granum"), "regions", trees, producer="by hand")
    return tmp_path / "s.granum"


@pytest.fixture
def app(store: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an App, in a process with a home and a database of its own."""
    pytest.importorskip("fiftyone")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"HOME": str(tmp_path), "FIFTYONE_DATABASE_DIR": str(tmp_path / "db")}
    # What FiftyOne told this process of its database is not for the other one.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FIFTYONE_")}
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(store), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**inherited, **own},
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        ready = next((line for line in server.stdout if line.startswith("READY")), None)
        assert ready is not None, "the App did not start"
        yield ready.split()[1]
    finally:
        server.stdin.close()
        server.wait(60)
        server.stdout.close()


@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_the_grid_shows_our_images_and_labels(app: str, tmp_path: Path) -> None:
    with Browser() as browser:
        browser.open(app)
        browser.wait(lambda b: "3 samples" in b.text())
        boxes = [f"checkbox-{n}" for n in ("truth", "regions")]
        browser.wait(lambda b: [b.evaluate(_COUNT, name) for name in boxes] == [1, 0])
        # Classifications are tags over each image; boxes and masks are painted.
        tag = "document.querySelectorAll('[data-cy=\"tag-truth_label_scene\"]').length"
        browser.wait(lambda b: b.evaluate(tag) == 3)
        assert browser.text().count("sunset") == 3
        wanted = sorted(COLOURS.values())
        browser.wait(lambda b: sorted(map(tuple, b.evaluate(_MIDDLE))) == wanted)
        browser.wait(lambda b: b.evaluate(_OPEN_FILTERS))
        browser.wait(lambda b: b.evaluate(_LIST_CLASSES))
        browser.wait(lambda b: "aardvark" in b.text() and "zebra" in b.text())
        picture = np.asarray(Image.open(browser.screenshot(tmp_path / "app.png")).convert("RGB"))
    assert picture.shape[0] > 500 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
