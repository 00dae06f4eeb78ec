"""Atomic output: whole or not at all, inside its folder, one file per name."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from granum.errors import ExistsError, FormatError
from granum.store.out import atomic_output, safe_relative


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()
    }


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "out"
    with atomic_output(target, single=False) as out:
        out.text("a.txt", "ä\n")
        out.bytes("sub/b.bin", b"\0" * 3)
        with out.open("sub/c") as file:
            file.write(b"c")
        assert not target.exists()
    assert tree(target) == {"a.txt": "ä\n", "sub/b.bin": "\0\0\0", "sub/c": "c"}
    assert names(tmp_path / "deep") == ["out"]


def test_a_file_appears_whole(tmp_path):
    with atomic_output(tmp_path / "out.json", single=True) as out:
        assert out.single == "out.json"
        out.text(out.single, "{}")
        assert not (tmp_path / "out.json").exists()
    assert tree(tmp_path) == {"out.json": "{}"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("single", [False, True])
def test_a_failure_leaves_nothing(tmp_path, error, single):
    with pytest.raises(error), atomic_output(tmp_path / "out", single=single) as out:
        out.text("out", "half")
        raise error
    assert names(tmp_path) == []


@pytest.mark.parametrize("single", [False, True])
def test_a_failure_leaves_the_old(tmp_path, single):
    with atomic_output(tmp_path / "out", single=single) as out:
        out.text("out", "old")
    before = tree(tmp_path)
    with (
        pytest.raises(ValueError, match="boom"),
        atomic_output(tmp_path / "out", overwrite=True, single=single) as out,
    ):
        out.text("out", "new")
        raise ValueError("boom")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("single", [False, True])
def test_overwriting_is_asked_for(tmp_path, single):
    for text in ("old", "new"):
        with atomic_output(tmp_path / "out", overwrite=text == "new", single=single) as out:
            out.text("out", text)
            if not single:
                out.text(text, "")
    with pytest.raises(ExistsError, match="--overwrite"):
        atomic_output(tmp_path / "out", single=single).__enter__()
    expected = {"out": "new"} if single else {"out/out": "new", "out/new": ""}
    assert tree(tmp_path) == expected  # nothing of the old folder is left in the new
    assert len(names(tmp_path)) == 1


def test_an_empty_folder_is_no_obstacle(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_output(tmp_path / "out", single=False) as out:
        out.text("a", "")
    assert tree(tmp_path) == {"out/a": ""}


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(ExistsError):
        atomic_output(tmp_path / "out", overwrite=True, single=True).__enter__()
    assert tree(tmp_path) == {"out/mine": ""}


def test_a_folder_replaces_a_file_when_asked(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExistsError):
        atomic_output(tmp_path / "out", single=False).__enter__()
    with atomic_output(tmp_path / "out", overwrite=True, single=False) as out:
        out.text("a", "")
    assert tree(tmp_path) == {"out/a": ""}


def test_one_file_per_name(tmp_path):
    with (
        pytest.raises(FormatError, match=r"a/b\.txt: two samples would be written to this one"),
        atomic_output(tmp_path / "out", single=False) as out,
    ):
        out.text("a/b.txt", "1")
        assert "a/b.txt" in out
        assert "a//b.txt" in out
        assert "b.txt" not in out
        out.text("a//b.txt", "2")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..", "", "a\\..\\..\\x", "\\x", "a/../b"]
)
def test_names_stay_inside(tmp_path, name):
    with (
        pytest.raises(FormatError, match="leaves its folder"),
        atomic_output(tmp_path / "out", single=False) as out,
    ):
        out.text(name, "x")
    assert names(tmp_path) == []
    with pytest.raises(FormatError, match="leaves its folder"):
        safe_relative(name, "list.txt")


def test_safe_names_are_kept():
    assert safe_relative("a/b c/ü.jpg", "x") == PurePosixPath("a/b c/ü.jpg")
    assert safe_relative("a\\b.jpg", "x") == PurePosixPath("a/b.jpg")
    assert safe_relative("./a.jpg", "x") == PurePosixPath("a.jpg")
    assert safe_relative("..a/b..", "x") == PurePosixPath("..a/b..")


def test_a_folder_cannot_be_written_as_a_file(tmp_path):
    with (
        pytest.raises(OSError, match="a"),
        atomic_output(tmp_path / "out", single=False) as out,
    ):
        out.text("a/b", "1")
        out.text("a", "2")
    assert names(tmp_path) == []
