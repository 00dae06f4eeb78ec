"""A short video of one street: tubes with track ids, and an action in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from granum.schema import rows
from granum.synthetic import things
from granum.synthetic.catalogue import Ids, index
from granum.synthetic.scene import backdrop, unit
from granum.synthetic.stage import Stage
from granum.synthetic.things import Thing

__all__ = ["FPS", "video"]

FPS = 8.0
_FOLDER = "video/street"


def video(
    out: Path, seed: int, frames: int, size: tuple[int, int], ids: Ids[int], group: int
) -> tuple[rows.Group, list[rows.Sample], list[rows.Annotation]]:
    """Render ``frames`` frames of ``size`` (width, height) to ``out/video/street``.

    ``group`` is the row that the group will have. Returns the group, its frames, and the rows
    of the whole group: one per tube, and the stretch of time (seconds) in which a person walks.
    """
    width, height = size
    background = backdrop(np.random.default_rng([seed, 2, 0]), width, height, False)
    # Walking starts after the first frame and ends before the last where there are enough.
    walk = (1, frames - 1) if frames > 3 else (0, frames)
    (out / _FOLDER).mkdir(parents=True, exist_ok=True)
    samples: list[rows.Sample] = []
    seen: dict[int, rows.Annotation] = {}
    for frame in range(frames):
        stage = Stage(background)
        for thing in _cast(seed, frame, frames, walk, size):
            stage.add(thing)
        objects, numbers = stage.annotate(ids)
        tracks = {number: position + 1 for position, number in numbers.items()}
        for row in objects:
            row.track = tracks.get(row.annotation_id or 0)
            if row.track is not None:
                seen.setdefault(row.track, row)
        key = f"{_FOLDER}/{frame:06d}.jpg"
        image = stage.canvas.image(np.random.default_rng([seed, 2, 1, frame]))
        image.save(out / key, quality=90, subsampling=0)
        samples.append(
            rows.Sample(
                key,
                media=rows.Media(key),
                media_kind="frame",
                width=width,
                height=height,
                channels=3,
                split="train",
                group=group,
                order=frame,
                annotations=objects,
            )
        )
    tubes = [
        rows.Annotation(
            "track",
            seen[track].category,
            track=track,
            group=group,
            attributes={"colour": (seen[track].attributes or {}).get("colour")},
            annotation_id=next(ids),
        )
        for track in sorted(seen)
    ]
    walker = next((t for t, row in sorted(seen.items()) if row.category == index("person")), None)
    action = rows.Annotation(
        "interval",
        index("walking", "action"),
        interval=rows.Interval(walk[0] / FPS, walk[1] / FPS),
        track=walker,
        group=group,
        annotation_id=next(ids),
    )
    clip = rows.Group(
        "video/street", kind="video", width=width, height=height, frames=frames, fps=FPS
    )
    return clip, samples, [*tubes, action]


def _cast(
    seed: int, frame: int, frames: int, walk: tuple[int, int], size: tuple[int, int]
) -> list[Thing]:
    """All things of one frame, back to front: the same things in every frame, some moved."""
    width, height = size
    share = frame / max(frames - 1, 1)
    walked = np.clip(frame - walk[0], 0, walk[1] - walk[0]) / max(walk[1] - walk[0], 1)
    stride = float(np.sin(2.2 * (frame - walk[0]))) if walk[0] <= frame < walk[1] else 0.0

    def rng(actor: int) -> np.random.Generator:
        return np.random.default_rng([seed, 2, 2, actor])

    def foot(x: float, y: float) -> tuple[float, float, float]:
        return x * width, y * height, unit(y * height, height)

    bounce = 0.035 * abs(np.sin(5 * share))
    return [
        things.house(*foot(0.30, 0.56), rng(0)),
        things.tree(*foot(0.78, 0.60), rng(1)),
        things.car(*foot(1.08 - 1.05 * share, 0.71), rng(2), left=True),
        things.car(*foot(-0.05 + 0.95 * share, 0.79), rng(3)),
        things.lamp(*foot(0.55, 0.83), rng(4)),
        things.person(*foot(0.20 + 0.40 * float(walked), 0.92), rng(5), stride),
        things.ball(*foot(0.85 - 0.5 * share, 0.95 - float(bounce)), rng(6)),
    ]
