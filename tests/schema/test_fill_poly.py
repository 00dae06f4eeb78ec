"""Polygons filled as OpenCV does: the pictures were set by cv2.fillPoly (4.14 and 5.0)."""

from __future__ import annotations

import numpy as np

from granum.schema.fill_poly import fill_poly

INSIDE = """
..........
.###......
.#######..
.#########
..#######.
..#######.
..######..
....####..
......#...
"""
CROSSING = """
#####.......
.#########..
...######...
....#####...
......##....
.......##...
......#####.
.....#######
.....######.
....#####...
....###.....
...##.......
"""


def shown(rings: list[list[int]], height: int, width: int) -> list[str]:
    return ["".join(".#"[v] for v in row) for row in fill_poly(rings, height, width).astype(int)]


def test_the_outline_belongs_to_it() -> None:
    assert shown([[1, 1, 9, 3, 6, 8, 2, 6]], 9, 10) == INSIDE.split()


def test_crossing_edges_and_corners_beyond_the_raster() -> None:
    assert shown([[0, 0, 12, 7, 3, 12, 9, 1]], 12, 12) == CROSSING.split()


def test_lines_and_points_are_drawn() -> None:
    assert shown([[1, 0, 3, 1]], 2, 4) == [".##.", "...#"]
    assert shown([[2, 1], [0, 0, 0, 0]], 2, 4) == ["#...", "..#."]
    assert not fill_poly([[5, 5, 9, 9, 9, 5]], 4, 4).any()
    assert not fill_poly([], 3, 3).any()


def test_rings_are_united() -> None:
    square, other = [0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]
    both = fill_poly([square, other], 3, 3)
    assert np.array_equal(both, fill_poly([square], 3, 3) | fill_poly([other], 3, 3))
    assert both.sum() == 7
