"""Faults planted on purpose in rendered scenes, with a ledger of where they are.

Curation can then be judged: what it finds against what was planted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from granum.schema import rows
from granum.synthetic.generate import Generated

__all__ = ["Planted", "Score", "found", "plant"]


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault.

    Attributes:
        kind: ``duplicate``, ``leak``, ``blurred``, ``wrong-label``, ``double-box``,
            ``box-outside``.
        key: of the sample.
        annotation: its id, where the fault is an annotation's.
        of: the sample it copies, or the category it had.
    """

    kind: str
    key: str
    annotation: int | None = None
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How much of what was planted was found, and how much of what was found was planted."""

    planted: int
    found: int
    hit: int

    @property
    def precision(self) -> float | None:
        return self.hit / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        return self.hit / self.planted if self.planted else None


def found(planted: Iterable[object], given: Iterable[object]) -> Score:
    """Score of a set of things against the planted ones."""
    there, claimed = set(planted), set(given)
    return Score(len(there), len(claimed), len(there & claimed))


def plant(made: Generated, *, seed: int = 0, share: float = 0.08) -> list[Planted]:
    """Plant faults into the scenes of ``made``, in place; writes the new images beside them.

    Copies come as four kinds in turn: the bytes as they are, encoded again at JPEG quality 35,
    reduced to a half, brightened. Half of the copies stay in the split of their original, half go
    to another one (leaks). Blurred images are rewritten. Wrong labels, boxes twice
    and boxes outside are of whole objects of the original scenes.

    Args:
        made: what ``generate`` gave.
        seed: of what is drawn.
        share: of the scenes that get each fault of images; of whole objects, for annotations.

    Returns:
        The ledger, in the order of planting.
    """
    rng = np.random.default_rng([seed, 0xFA17])
    scenes = [s for s in made.samples if s.key.startswith("scenes/")]
    each = max(1, round(share * len(scenes)))
    drawn = [scenes[i] for i in rng.permutation(len(scenes))]
    twins, leaks, blurred = drawn[:each], drawn[each : 2 * each], drawn[2 * each : 3 * each]
    ledger = []
    fresh = _next_id(made)
    for number, scene in enumerate([*twins, *leaks]):
        leak = number >= each
        twin, fresh = _copied(made.root, scene, number, leak, fresh)
        made.samples.append(twin)
        ledger.append(Planted("leak" if leak else "duplicate", twin.key, of=scene.key))
    for scene in blurred:
        _blur(made.root / _path(scene))
        ledger.append(Planted("blurred", scene.key))
    return ledger + _annotations(made, scenes, rng, share)


def _path(sample: rows.Sample) -> str:
    assert sample.media is not None and sample.media.path is not None
    return sample.media.path


def _next_id(made: Generated) -> int:
    every = [a for s in made.samples for a in s.annotations] + made.group_annotations
    return max((a.annotation_id or 0 for a in every), default=0) + 1


def _blur(path: Path) -> None:
    with Image.open(path) as image:
        image.filter(ImageFilter.GaussianBlur(3)).save(path, quality=92)


def _same(image: Image.Image) -> Image.Image:
    return image


def _half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def _brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.15)


_COPIES: Sequence[tuple[str, Callable[[Image.Image], Image.Image] | None, int]] = (
    ("copy", None, 0),
    ("q35", _same, 35),
    ("half", _half, 92),
    ("bright", _brighter, 92),
)


def _copied(
    root: Path, scene: rows.Sample, number: int, leak: bool, fresh: int
) -> tuple[rows.Sample, int]:
    """A copy of a scene under a new name, its annotations with new ids and in its own pixels."""
    name, change, quality = _COPIES[number % len(_COPIES)]
    source = Path(_path(scene))
    target = source.with_name(f"{source.stem}_{name}{number}{source.suffix}")
    if change is None:
        (root / target).write_bytes((root / source).read_bytes())
        scale = 1.0
    else:
        with Image.open(root / source) as image:
            changed = change(image.convert("RGB"))
            scale = changed.width / image.width
        changed.save(root / target, quality=quality)
    twin = copy.deepcopy(scene)
    twin.key = target.as_posix()
    twin.source_id = None
    twin.media = rows.Media(target.as_posix())
    if leak:
        twin.split = "val" if scene.split == "train" else "train"
    if scale != 1.0:
        twin.width, twin.height = changed.size
    ids = {a.annotation_id: fresh + i for i, a in enumerate(twin.annotations)}
    for a in twin.annotations:
        a.annotation_id = ids[a.annotation_id]
        a.parent, a.subject, a.object = (ids.get(i) for i in (a.parent, a.subject, a.object))
        if scale != 1.0:
            _scaled(a, scale)
    return twin, fresh + len(ids)


def _scaled(a: rows.Annotation, scale: float) -> None:
    """Boxes and joints follow the size; masks of the full size would not fit, so they go."""
    a.rle = a.map = a.polygons = None
    if a.bbox is not None:
        x, y, w, h = a.bbox
        a.bbox = (x * scale, y * scale, w * scale, h * scale)
    if a.area is not None:
        a.area *= scale * scale
    if a.keypoints is not None:
        a.keypoints = [v if i % 3 == 2 else v * scale for i, v in enumerate(a.keypoints)]


def _annotations(
    made: Generated, scenes: Sequence[rows.Sample], rng: np.random.Generator, share: float
) -> list[Planted]:
    """Wrong labels on ``share`` of the whole objects; a tenth of that boxes twice, and outside."""
    wholes = [
        (scene, a)
        for scene in scenes
        for a in scene.annotations
        if a.kind == "object" and a.parent is None and a.bbox and a.bbox[2] * a.bbox[3] >= 100
    ]
    classes = sorted({a.category for _, a in wholes if a.category is not None})
    drawn = [wholes[i] for i in rng.permutation(len(wholes))]
    wrong, few = max(1, round(share * len(wholes))), max(1, round(share * len(wholes) / 10))
    ledger = []
    for scene, a in drawn[:wrong]:
        others = [c for c in classes if c != a.category]
        before = made.categories[a.category or 0].name
        a.category = int(rng.choice(others))
        ledger.append(Planted("wrong-label", scene.key, a.annotation_id, before))
    fresh = _next_id(made)
    for scene, a in drawn[wrong : wrong + few]:
        twin = rows.Annotation(category=a.category, bbox=a.bbox, annotation_id=fresh)
        scene.annotations.append(twin)
        ledger.append(Planted("double-box", scene.key, fresh))
        fresh += 1
    for scene, a in drawn[wrong + few : wrong + 2 * few]:
        assert scene.width and scene.height and a.bbox
        a.bbox = (scene.width - a.bbox[2] / 2, a.bbox[1], a.bbox[2], a.bbox[3])
        a.rle = a.map = a.polygons = a.keypoints = None
        ledger.append(Planted("box-outside", scene.key, a.annotation_id))
    return ledger
