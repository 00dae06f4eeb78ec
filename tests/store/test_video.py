"""Frames of videos by number: clips made here, compared with a decoding from the start."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from granum.errors import FormatError, GranumError, MissingExtraError
from granum.schema.rows import Group, Media, Sample
from granum.store import video
from granum.store.dataset import Dataset

av: Any = pytest.importorskip("av")

SIZE = (64, 48)
CODECS = {
    "x.mp4": ("libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1:keyint=12:scenecut=0"}),
    "closed.mp4": ("libx264", {"bf": "2", "g": "10"}),
    "intra.avi": ("mjpeg", {}),
    "b.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "x.webm": ("libvpx-vp9", {"g": "12", "deadline": "realtime"}),
    "raw.h264": ("libx264", {"bf": "2", "g": "12"}),  # its packets have no times
    "x.mkv": ("libx264", {"bf": "3", "g": "12"}),
}


@pytest.fixture(autouse=True)
def closed() -> Any:
    yield
    video.close_videos()


def picture(number: int) -> np.ndarray[Any, Any]:
    """A picture that says its number: six squares, white where a bit is set."""
    out = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    for bit in range(6):
        out[16:32, 8 * bit + 8 : 8 * bit + 16] = 255 if number >> bit & 1 else 0
    return out


def number(image: Image.Image) -> int:
    grey = np.asarray(image.convert("L"))
    return sum(int(grey[24, 8 * bit + 12] > 128) << bit for bit in range(6))


def clip(path: Path, frames: int = 50, first: int = 0) -> Path:
    codec, options = CODECS[path.name] if path.name in CODECS else CODECS["closed.mp4"]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options
        for i in range(frames):
            made = av.VideoFrame.from_ndarray(picture(first + i), format="rgb24")
            out.mux(stream.encode(made))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", CODECS)
def test_any_frame_is_the_one_of_that_number(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name)
    with av.open(str(path)) as container:
        reference = [f.to_image() for f in container.decode(video=0)]
    assert [number(i) for i in reference] == list(range(50))
    assert video.frame_count(path) == 50
    order = [49, 0, 13, 12, 11, 25, 26, 27, 24, 24, 48, 1, *range(30, 40)]
    for index in order:
        found = video.frame(path, index)
        assert number(found) == index
        assert np.array_equal(np.asarray(found), np.asarray(reference[index]))


def test_b_frames_are_there_at_all(tmp_path: Path) -> None:
    """Presentation and decoding orders differ, so that counting packets would be wrong."""
    with av.open(str(clip(tmp_path / "x.mp4"))) as container:
        times = [p.pts for p in container.demux(video=0) if p.size]
    assert times != sorted(times)


def test_frames_in_order_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "x.mp4")
    video.frame(path, 0)
    seeks: list[int] = []
    monkeypatch.setattr(video._Video, "_seek", lambda self, start: seeks.append(start))
    assert [number(video.frame(path, i)) for i in range(1, 12)] == list(range(1, 12))
    assert not seeks


def test_few_videos_stay_open(tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{i}.mp4", 3, i) for i in range(video.MAX_OPEN + 3)]
    assert [number(video.frame(p, 2)) for p in paths] == [i + 2 for i in range(len(paths))]
    kept = [name for _, name in video._OPEN]
    assert kept == [str(p) for p in paths[3:]]
    assert number(video.frame(paths[0], 1)) == 1  # opened again
    assert str(paths[3]) not in [name for _, name in video._OPEN]


@pytest.mark.parametrize("index", [-1, 5, 10**9])
def test_no_such_frame(tmp_path: Path, index: int) -> None:
    path = clip(tmp_path / "a.mp4", 5)
    with pytest.raises(FormatError, match=rf"a\.mp4.*5 frames.*{index}"):
        video.frame(path, index)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(FormatError, match=r"text\.mp4"):
        video.frame(tmp_path / "text.mp4", 0)
    with pytest.raises(FormatError, match=r"none\.mp4.*absent"):
        video.frame(tmp_path / "none.mp4", 0)
    whole = clip(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    assert 0 < video.frame_count(tmp_path / "cut.mkv") < 50
    with pytest.raises(FormatError, match=r"cut\.mkv"):
        video.frame(tmp_path / "cut.mkv", 49)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"granum\[video\]"):
        video.frame(tmp_path / "a.mp4", 0)


def test_a_sample_without_a_file_is_a_frame_of_its_groups_video(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4", 8)
    Image.fromarray(picture(33)).save(tmp_path / "own.png")
    samples = [
        Sample("a/5", media_kind="frame", group=0, order=5),
        Sample("own", Media("own.png"), media_kind="frame", group=0, order=5),
        Sample("no number", media_kind="frame", group=0),
        Sample("no video", media_kind="frame", group=1, order=0),
        Sample("from 1", media_kind="frame", group=2, order=1),
    ]
    clip_ = Media("a.mp4")
    groups = [
        Group("a", "video", media=clip_),
        Group("b", "video"),
        Group("c", "video", media=clip_, attributes={"first_frame": 1}),
    ]
    dataset = Dataset.from_rows(samples, [], groups, media_root=tmp_path)
    assert number(dataset[0].image()) == 5
    assert number(dataset[1].image()) == 33
    assert number(dataset["from 1"].image()) == 0
    for key in ("no number", "no video"):
        with pytest.raises(GranumError, match="media"):
            dataset[key].image()
