"""A tree that nothing recognises is told in detail."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.cli import main
from granum.loaders.resembling import looked_at, nearest


def unknown(folder: Path) -> Path:
    """DOTA's folders, and labels of another kind in them."""
    (folder / "labelTxt").mkdir(parents=True)
    (folder / "images").mkdir()
    for n in range(3):
        (folder / "labelTxt" / f"P{n}.bin").write_bytes(b"\0")
        (folder / "images" / f"P{n}.png").write_bytes(b"")
    return folder


def test_what_is_there_and_what_it_resembles(tmp_path: Path) -> None:
    root = unknown(tmp_path / "x")
    assert looked_at(root) == "it holds images/, labelTxt/ (3 .png, 3 .bin)"
    (name, shared), *_ = nearest(root)
    assert name == "dota" and "labeltxt/" in shared
    # What is common to many says little: only names that few trees have come first.
    assert nearest(tmp_path / "absent") == []


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(unknown(tmp_path / "x"))]) == 1
    said = capsys.readouterr().err
    assert "3 .bin" in said and "--from dota" in said


def test_a_file_and_an_empty_folder(tmp_path: Path) -> None:
    assert looked_at(tmp_path) == "the folder is empty"
    (tmp_path / "a.xyz").write_bytes(b"123")
    assert looked_at(tmp_path / "a.xyz") == "a file of 3 bytes named 'a.xyz'"
