"""Frames of videos by number, exact, decoded with PyAV (the extra ``video``).

A frame's number is its place in presentation order, from 0. Opening a video reads the times of
its packets without decoding them; a frame is then decoded from the last key frame before it, so
that frames that refer to others (B-frames) come out as a decoding from the start gives them.
Frames asked for in order are decoded once. Rotation that the container states is not applied.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, MissingExtraError
from granum.store.media import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_OPEN", "close_videos", "frame", "frame_count"]

MAX_OPEN = 8
"""Videos that are kept open; the one used longest ago is closed first."""


def frame(path: str | Path, index: int) -> Image:
    """Frame ``index`` of a video as an RGB image.

    Args:
        path: of the video.
        index: place in presentation order, from 0.

    Raises:
        MissingExtraError: PyAV is not installed.
        FormatError: the file is absent or no video, does not decode, or has no such frame.
    """
    return _opened(Path(path)).frame(index)


def frame_count(path: str | Path) -> int:
    """How many frames a video has, by its packets. Raises as ``frame``."""
    return len(_opened(Path(path)).times)


def close_videos() -> None:
    """Close the videos that are kept open."""
    with _LOCK:
        while _OPEN:
            _OPEN.popitem()[1].close()


_OPEN: OrderedDict[tuple[int, str], _Video] = OrderedDict()
_LOCK = threading.Lock()


def _opened(path: Path) -> _Video:
    # A process that was forked must not share the file position of its parent.
    key = os.getpid(), str(path)
    with _LOCK:
        found = _OPEN.pop(key, None)
    if found is None:
        found = _Video(path)
    closed: list[_Video] = []
    with _LOCK:
        _OPEN[key] = found
        while len(_OPEN) > MAX_OPEN:
            closed.append(_OPEN.popitem(last=False)[1])
    for video in closed:
        video.close()
    return found


class _Video:
    """One open video. ``times`` are those of its frames in presentation order, ``keys`` those of
    its key frames; both in the time base of the stream."""

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingExtraError("reading frames of videos", "video", "PyAV") from error
        self.path, self._av = path, av
        self._lock = threading.Lock()
        if not path.is_file():
            raise FormatError(path, "the file is absent")
        self._container: Any = None
        try:
            self._container = av.open(str(path))
            self._begin()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise FormatError(path, f"not a video that can be read: {error}") from error

    def _begin(self) -> None:
        streams = self._container.streams.video
        if not streams:
            raise FormatError(self.path, "it has no video")
        self._stream = streams[0]
        context = self._stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise FormatError(self.path, f"claims {context.width} x {context.height} pixels")
        times, keys, self._timed = [], [], True
        for packet in self._container.demux(self._stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None:
                self._timed = False
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        if not self._timed:  # without times: by counting from the start
            times, keys = list(range(len(times))), []
        self.times: npt.NDArray[np.int64] = np.sort(np.asarray(times, np.int64))
        self._keys: npt.NDArray[np.int64] = np.sort(np.asarray(keys, np.int64))
        self._decoded: Iterator[Any] | None = None
        self._next = 0

    def close(self) -> None:
        with self._lock:
            if self._container is not None:
                self._container.close()
                self._container = None

    def frame(self, index: int) -> Image:
        if not 0 <= index < len(self.times):
            raise FormatError(self.path, f"has {len(self.times)} frames, and no frame {index}")
        with self._lock:
            try:
                if self._container is None:  # closed meanwhile by another thread
                    self._container = self._av.open(str(self.path))
                    self._begin()
                image: Image = self._find(index).to_image()
            except (self._av.FFmpegError, OSError, ValueError) as error:
                raise FormatError(self.path, f"frame {index} does not decode: {error}") from error
        return image

    def _find(self, index: int) -> Any:
        start = self._key_before(index)
        if self._decoded is None or not start <= self._next <= index:
            self._seek(start)
        found = self._forward(index)
        if found is None and start > 0:  # it refers to frames before the key frame, or so
            self._seek(0)
            found = self._forward(index)
        if found is None:
            self._decoded = None
            raise FormatError(self.path, f"frame {index} does not decode")
        return found

    def _key_before(self, index: int) -> int:
        at = int(np.searchsorted(self._keys, self.times[index], side="right")) - 1
        return int(np.searchsorted(self.times, self._keys[at])) if at >= 0 else 0

    def _seek(self, start: int) -> None:
        if start > 0:
            self._container.seek(int(self.times[start]), stream=self._stream, backward=True)
        else:  # opened anew: some containers can be read forwards only
            self._container.close()
            self._container = self._av.open(str(self.path))
            self._stream = self._container.streams.video[0]
        self._decoded, self._next = self._container.decode(self._stream), start

    def _forward(self, index: int) -> Any:
        """Decode up to frame ``index``; None where it does not come."""
        assert self._decoded is not None
        for count, decoded in enumerate(self._decoded, self._next):
            if self._timed and decoded.pts is not None:
                place = int(np.searchsorted(self.times, decoded.pts))
            else:
                place = count
            self._next = place + 1
            if place == index:
                return decoded
            if place > index:
                return None
        self._decoded = None
        return None
