"""MPII Human Pose, typed by hand: the JSON, and a .mat of the official structure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.testing.suite import ReaderSuite
from tests.data import shared

JOINTS = [[10.0 + i, 20.0, 1.0] for i in range(16)]


def entry(name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    return {
        "dataset": "MPI",
        "isValidation": 0.0,
        "img_paths": name,
        "img_width": 64.0,
        "img_height": 48.0,
        "objpos": [5.0, 6.0],
        "joint_self": JOINTS,
        "scale_provided": 3.5,
        **more,
    }


def tree(folder: Path, entries: Any = None, heads: Any = None) -> Path:
    root = folder / "mpii"
    (root / "images").mkdir(parents=True)
    if entries is None:
        hidden = [[0.0, 0.0, 0.0], [7.0, 8.0, 0.0], [9.0, 9.0, 2.0], *JOINTS[3:]]
        other = entry("b.jpg", isValidation=1.0)
        entries = [entry(joint_self=hidden), other, entry()]
    (root / "mpii_annotations.json").write_text(json.dumps(entries))
    if heads is not None:
        np.save(root / "mpii_headboxes.npy", heads)
    return root


def official(folder: Path, **changes: Any) -> Path:
    """A .mat: structs in arrays, absent values empty, as MATLAB saves them."""
    scipy = pytest.importorskip("scipy.io")
    points = np.array(
        [(1.0, 2.0, 0, "1"), (3.0, 4.0, 1, "0"), (5.0, 6.0, 9, np.zeros((0, 0)))],
        [(n, object) for n in ("x", "y", "id", "is_visible")],
    )
    known = {"x1": 10, "y1": 11, "x2": 14, "y2": 17, "scale": 2.5, "objpos": {"x": 7, "y": 8}}
    person = {**known, "annopoints": {"point": points}, **changes}
    images = [
        {"image": {"name": "a.jpg"}, "annorect": person},
        {"image": {"name": "b.jpg"}, "annorect": np.zeros((0, 0))},
    ]
    annolist = np.array([tuple(i.values()) for i in images], [(n, object) for n in images[0]])
    act = np.array(
        [("sports", "tennis"), (np.zeros((0, 0)), np.zeros((0, 0)))],
        [("cat_name", object), ("act_name", object)],
    )
    root = folder / "official"
    root.mkdir(parents=True)
    release = {"annolist": annolist, "img_train": np.array([[1, 0]]), "act": act}
    scipy.savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    return root


class TestMpii(ReaderSuite):
    name = "mpii"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_persons_of_json(tmp_path: Path) -> None:
    one, two = granum.read(tree(tmp_path))
    assert (one.key, one.split, one.size) == ("images/a.jpg", "train", (64, 48))
    assert (two.key, two.split) == ("images/b.jpg", "val")
    assert one.labels == ["person", "person"]
    points = one.annotations[0].keypoints
    # No one marked the first (at 0, 0) and the third (2); the second is hidden.
    assert points is not None
    assert points[:12] == [0, 0, 0, 7, 8, 1, 9, 9, 0, 13, 20, 2]
    assert one.annotations[0].attributes == {"scale": 3.5, "objpos": [5.0, 6.0]}
    names = one.categories[0].keypoints
    assert names is not None and (len(names), names[0], names[9]) == (16, "r ankle", "head top")


@pytest.mark.parametrize("count", [3, 1])
def test_heads_of_all_or_of_the_validation(tmp_path: Path, count: int) -> None:
    heads = np.arange(4.0).reshape(2, 2, 1) + np.arange(count)  # x1 y1, x2 y2
    heads[1] *= 10
    one, two = granum.read(tree(tmp_path, heads=heads))
    person, head = two.annotations
    assert two.labels == ["person", "head"] and head.parent == person.annotation_id is not None
    n = float(count == 3)
    assert head.bbox == (n, 1 + n, 20 + 9 * n, 29 + 9 * n)
    assert one.labels.count("head") == count - 1  # it is of the two train entries


def test_heads_of_another_number_are_told(tmp_path: Path) -> None:
    findings = Findings(on_error="skip")
    granum.read(tree(tmp_path, heads=np.zeros((2, 2, 2))), on_error="skip", findings=findings)
    assert [(f.code, f.path) for f in findings.items] == [("bad-value", "mpii_headboxes.npy")]


def test_the_official_file(tmp_path: Path) -> None:
    root = official(tmp_path)
    assert list(sniff(root)) == ["mpii"]
    one, two = granum.read(root)
    assert [(s.key, s.split) for s in (one, two)] == [("a.jpg", "train"), ("b.jpg", "test")]
    assert one.labels == ["tennis", "person", "head"] and two.annotations == []
    activity, person, head = one.annotations
    assert activity.kind == "label"
    tennis = next(c for c in one.categories if c.name == "tennis")
    assert (tennis.space, tennis.supercategory) == ("action", "sports")
    assert person.keypoints is not None
    assert person.keypoints[:9] == [1, 2, 2, 3, 4, 1, 0, 0, 0]
    assert person.keypoints[27:30] == [5, 6, 2]  # the head top, which has no visibility
    assert person.attributes == {"scale": 2.5, "objpos": [7.0, 8.0]}
    assert (head.bbox, head.parent) == ((10, 11, 4, 6), person.annotation_id)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"joint_self": JOINTS[:3]}, "3 joints"),
        ({"joint_self": [[1, 2]] * 16}, "3 numbers"),
        ({"scale_provided": "big"}, "big"),
        ({"img_paths": "../a.jpg"}, "image"),
        ({"img_width": -1}, "size"),
    ],
)
def test_faults_of_json_name_file_and_place(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(FindingsError, match=rf"mpii_annotations\.json /1: .*{message}"):
        granum.read(tree(tmp_path, [entry(), entry("b.jpg", **bad)]))


def test_faults_of_the_official_file(tmp_path: Path) -> None:
    point = np.array([(1.0, 2.0, 99)], [(n, object) for n in ("x", "y", "id")])
    with pytest.raises(FindingsError, match=r"\.mat RELEASE\.annolist\(1\)\.annorect\(1\).*99"):
        granum.read(official(tmp_path / "a", annopoints={"point": point}))
    root = official(tmp_path / "b")
    (root / "mpii_human_pose_v1_u12_1.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"x" * 200)
    with pytest.raises(FormatError, match=r"mpii_human_pose_v1_u12_1\.mat"):
        granum.read(root)


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    plain = granum.read(root / "mpii_json_dataset" / "dataset_wo_numpy_files")
    assert (len(plain), plain.num_annotations) == (3, 3)
    with_heads = granum.read(root / "mpii_json_dataset" / "dataset_with_numpy_files")
    mat = granum.read(root / "mpii_dataset")
    assert (len(with_heads), with_heads.num_annotations) == (3, 6)
    assert (len(mat), mat.num_annotations) == (3, 8)
    # The two say the same of the same persons; the last image has another one in the .mat.
    for ours, theirs in zip(with_heads, mat, strict=True):
        assert ours.key == theirs.key
        for a, b in zip(ours.annotations, theirs.annotations[:2], strict=True):
            assert (a.keypoints, a.bbox, a.attributes) == (b.keypoints, b.bbox, b.attributes)
