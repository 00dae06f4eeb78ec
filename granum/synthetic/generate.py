"""One call that renders a dataset of every kind from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from granum.schema import rows
from granum.synthetic.catalogue import Ids, categories
from granum.synthetic.pairs import pairs as render_pairs
from granum.synthetic.scene import scenes as render_scenes
from granum.synthetic.textures import textures as render_textures
from granum.synthetic.video import video as render_video

__all__ = ["Generated", "generate"]

_SMALLEST = 64


@dataclass(slots=True)
class Generated:
    """Rendered data: rows with media paths relative to ``root``, and where the files are.

    ``group_annotations`` belong to a whole group (``group`` is its row) and to no sample:
    tubes and actions of the video, change regions of the pairs. ``annotation_id`` is unique
    over these and all samples.
    """

    samples: list[rows.Sample]
    categories: list[rows.Category]
    groups: list[rows.Group]
    root: Path
    group_annotations: list[rows.Annotation] = field(default_factory=list)


def generate(
    out: Path,
    *,
    seed: int = 0,
    scenes: int = 24,
    frames: int = 8,
    pairs: int = 4,
    textures: int = 12,
    size: tuple[int, int] = (320, 240),
) -> Generated:
    """Render street scenes, a video, before/after pairs and surfaces with defects.

    The same arguments give the same bytes and rows; a scene, pair or surface does not depend on
    how many there are, but for its annotation ids. Coordinates are pixels (``xywh``, origin at
    the top-left corner of the top-left pixel). Masks are exact: a pixel is in the mask of what
    was painted last over its centre.

    Args:
        out: folder to write into; made where it is missing, files of equal name are replaced.
        seed: at least 0.
        scenes: how many scenes (JPEG), over the splits train, val and test.
        frames: length of the video (JPEG); 0 for no video.
        pairs: how many before/after pairs (PNG, with label images).
        textures: how many surfaces (PNG), the first half good.
        size: width and height of the images in pixels, at least 64 each; surfaces are squares
            of the height.

    Raises:
        ValueError: a count or the seed is negative, or the size too small.
    """
    counts = {
        "seed": seed,
        "scenes": scenes,
        "frames": frames,
        "pairs": pairs,
        "textures": textures,
    }
    for name, value in counts.items():
        if value < 0:
            raise ValueError(f"{name} must be at least 0, not {value}")
    if min(size) < _SMALLEST:
        raise ValueError(f"size must be at least {_SMALLEST} x {_SMALLEST}, not {size}")
    out.mkdir(parents=True, exist_ok=True)
    ids = Ids(1)
    made = Generated(render_scenes(out, seed, scenes, size, ids), categories(), [], out)
    if frames:
        clip, shots, tubes = render_video(out, seed, frames, size, ids, len(made.groups))
        made.groups.append(clip)
        made.samples += shots
        made.group_annotations += tubes
    couples, images, changes = render_pairs(out, seed, pairs, size, ids, len(made.groups))
    made.groups += couples
    made.samples += images
    made.group_annotations += changes
    made.samples += render_textures(out, seed, textures, size, ids)
    return made
