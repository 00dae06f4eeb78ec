"""WebDataset shards, packed by hand with ``tarfile``."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import granum
from granum.errors import FindingsError, FormatError, GranumError, UsageError
from granum.loaders.reading import sniff
from granum.schema import rows
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.testing.media import png

A, B = png(4, 3, 1), png(6, 5, 2)
RECORD = {
    "width": 4,
    "height": 3,
    "url": "http://x/1",
    "objects": [
        {"bbox": [1, 0.5, 2, 1], "category": "cat", "score": 0.5, "iscrowd": 0},
        {"segmentation": [[0, 0, 2, 0, 2, 2]], "category": "dog", "attributes": {"tame": True}},
    ],
}
Members = Sequence[tuple[str, bytes]]
MEMBERS: Members = [
    ("sub/a.PNG", A),
    ("sub/a.json", json.dumps(RECORD).encode()),
    ("sub/a.cls", b"1\n"),
    ("sub/a.txt", "zwei Größen\n".encode()),
    ("b.png", B),
    ("b.json", b'{"caption": "one", "text": "one"}'),
]


def packed(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def tree(folder: Path, members: Members = MEMBERS, name: str = "train-000000.tar") -> Path:
    root = folder / "w"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(packed(members))
    return root


def found(root: Path, **options: Any) -> tuple[Dataset, Findings]:
    findings = Findings("skip")
    return granum.read(root, findings=findings, on_error="skip", **options), findings


def told(findings: Findings) -> list[tuple[str, str, str | None]]:
    return [(f.code, f.path, f.place) for f in findings.items]


def test_a_record(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert list(sniff(root)) == ["webdataset"]
    a, b = (s.row for s in granum.read(root))
    # The suffix is told without its case; the image is the member as it stands.
    assert (a.key, a.split, a.width, a.height) == ("train-000000/sub/a.PNG", "train", 4, 3)
    assert a.media is not None and a.media.bytes == A
    cat, dog, caption, label = a.annotations
    assert (cat.bbox, cat.score, cat.crowd) == ((1, 0.5, 2, 1), 0.5, False)
    assert dog.polygons == [[[0, 0, 2, 0, 2, 2]]] and dog.attributes == {"tame": True}
    assert (caption.kind, caption.text, label.kind) == ("caption", "zwei Größen", "label")
    assert a.attributes == {"url": "http://x/1"}
    assert [x.text for x in b.annotations] == ["one"]  # said twice, and once a sentence
    assert granum.read(root).category_names() == ["cat", "dog", "1"]


def test_class_names_beside_the_shards(tmp_path: Path) -> None:
    """As CLIP benchmark packs its sets: the folder is the split."""
    root = tree(
        tmp_path, [("s0.png", A), ("s0.cls", b"1"), ("s1.png", B), ("s1.cls", b"7")], "test/0.tar"
    )
    (root / "classnames.txt").write_text("tabby cat\ndog\n")
    data, findings = found(root)
    assert (data[0].labels, data[0].split) == (["dog"], "test")
    assert data.category_names() == ["tabby cat", "dog"]
    assert told(findings) == [("unknown-class", "test/0.tar", "s1.cls")]


def test_the_key_ends_at_the_first_dot(tmp_path: Path) -> None:
    """``a.b.png`` is the image ``b`` of the record ``a``, whatever the folder has."""
    root = tree(tmp_path, [("v1.0/a.in.png", A), ("v1.0/a.out.png", B), ("v1.0/a.txt", b"x")])
    data = granum.read(root)
    one, two = (s.row for s in data)
    assert (one.role, two.role, one.group, two.group) == ("in", "out", 0, 0)
    assert data.groups["key"].to_pylist() == ["train-000000/v1.0/a"]
    assert (len(one.annotations), len(two.annotations)) == (1, 0)


def test_only_neighbours_are_one_record(tmp_path: Path) -> None:
    root = tree(tmp_path, [("a.png", A), ("b.png", B), ("a.txt", b"late")])
    data, findings = found(root)
    assert len(data) == 3 and [len(s.annotations) for s in data] == [0, 0, 1]
    assert told(findings) == [("file-missing", "train-000000.tar", "a.txt")]
    assert "do not follow" in findings.items[0].message


@pytest.mark.parametrize(
    ("extra", "code", "place"),
    [
        (("b.PNG", A), "bad-value", "b.PNG"),
        (("../up.png", A), "bad-value", None),
        (("/etc/up.png", A), "bad-value", None),
        (("c.npy", b"1"), "file-not-read", None),
        (("no_suffix", b"1"), "file-not-read", None),
        (("b.cls", b"two"), "bad-value", "b.cls"),
        (("b.txt", b"\xff"), "bad-value", "b.txt"),
        (("b.x.json", b'{"width": 0}'), "bad-value", "b.x.json"),
        (("b.x.json", b'{"objects": [{"bbox": [1, 2]}]}'), "bad-value", "b.x.json"),
        (("b.x.json", b'{"objects": '), "bad-value", "b.x.json"),
        (("b.x.json", b'{"similarity": NaN}'), "nan-token", "b.x.json"),
    ],
)  # fmt: skip
def test_faults_name_shard_and_member(
    tmp_path: Path, extra: tuple[str, bytes], code: str, place: str | None
) -> None:
    _, findings = found(tree(tmp_path, [*MEMBERS, extra]))
    assert dict(findings.counts) in ({code: 1}, {code: 1, "file-missing": 1})
    first = next(f for f in findings.items if f.code == code)
    assert first.path == "train-000000.tar"
    if place is not None:
        assert first.place == place
    assert not (tmp_path / "up.png").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path)
    with tarfile.open(root / "train-000000.tar", "a") as archive:
        link = tarfile.TarInfo("c.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    data, findings = found(root)
    assert len(data) == 2 and [f.code for f in findings.items] == ["file-not-read"]


@pytest.mark.parametrize("at", [512 * 7 + 20, 512 * 4 + 148])
def test_damage_in_the_middle_is_no_end(tmp_path: Path, at: int) -> None:
    """``tarfile`` alone takes a damaged header for the end of the archive."""
    root = tree(tmp_path)
    content = bytearray(packed(MEMBERS))
    header = content.index(b"sub/a.cls") if at % 512 == 20 else content.index(b"sub/a.json")
    content[header + 149] ^= 0xFF
    (root / "train-000000.tar").write_bytes(content)
    data, findings = found(root)
    assert len(data) == 1 and findings.counts["broken-archive"] == 1
    with pytest.raises(FindingsError, match=r"train-000000\.tar after byte"):
        granum.read(root)


def test_a_shard_that_is_cut_off(tmp_path: Path) -> None:
    root = tree(tmp_path)
    content = packed(MEMBERS)
    for end in (content.index(b"b.json"), content.index(b"b.json") + 700):
        (root / "train-000000.tar").write_bytes(content[:end])
        data, findings = found(root)
        assert len(data) == 2 and dict(findings.counts) == {"broken-archive": 1}


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst"])
def test_compressed_shards(tmp_path: Path, suffix: str) -> None:
    root = tree(tmp_path)
    content = (root / "train-000000.tar").read_bytes()
    (root / "train-000000.tar").unlink()
    path = root / f"train-000000{suffix}"
    if suffix == ".tar.zst":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(content)
    else:
        path.write_bytes(gzip.compress(content))
    data = granum.read(root)
    assert [s.key for s in data] == ["train-000000/sub/a.PNG", "train-000000/b.png"]
    assert data[1].image().size == (6, 5)


def test_labels_alone(tmp_path: Path) -> None:
    data = granum.read(tree(tmp_path), labels_only=True)
    assert data.num_annotations == 5 and [s.row.media for s in data] == [None, None]


def written(folder: Path, **options: Any) -> Path:
    samples = [
        rows.Sample(
            f"x.tar.{i}.png",
            rows.Media(bytes=A),
            4,
            3,
            split="train" if i < 3 else "val",
            annotations=[rows.Annotation("label", i % 2), rows.Annotation("caption", text=f"t{i}")],
        )
        for i in range(4)
    ]
    data = Dataset.from_rows(samples, [rows.Category("cat"), rows.Category("dog")])
    granum.write(data, folder, "webdataset", media="copy", **options)
    return folder


def test_members_that_are_written(tmp_path: Path) -> None:
    root = written(tmp_path / "a", maxcount=2)
    names = ["classnames.txt", "granum.json"]
    shards = ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert sorted(p.name for p in root.iterdir()) == [*names, *shards]
    with tarfile.open(root / "train-000000.tar") as archive:
        listed = [m.name for m in archive]
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in archive} == {(0, 0, "", 0o644)}
        one = archive.extractfile("x_tar_1.cls")
        assert one is not None and one.read() == b"1"
    assert listed == [f"x_tar_{i}.{s}" for i in (0, 1) for s in ("png", "json", "txt", "cls")]
    assert (root / "classnames.txt").read_text() == "cat\ndog\n"
    assert [s.key for s in granum.read(root)] == [f"x.tar.{i}.png" for i in range(4)]
    # Others, who do not know the notes, read the same but for the names.
    (root / "granum.json").unlink()
    plain = granum.read(root)
    classes = [plain.category_names()[s.annotations[1].category or 0] for s in plain]
    assert classes == ["cat", "dog", "cat", "dog"]
    assert [s.split for s in plain] == ["train", "train", "train", "val"]


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a"), written(tmp_path / "b")
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_a_shard_ends_at_its_size(tmp_path: Path) -> None:
    root = written(tmp_path / "a", maxsize=1)
    assert len(list(root.glob("*.tar"))) == 4
    with pytest.raises(UsageError, match="maxcount"):
        written(tmp_path / "b", maxcount=0)


def test_images_that_are_absent(tmp_path: Path) -> None:
    data = Dataset.from_rows([rows.Sample("a.png", rows.Media(path="a.png"), 4, 3)])
    with pytest.raises(UsageError, match="--media copy"):
        granum.write(data, tmp_path / "o", "webdataset")
    with pytest.raises(GranumError, match="media root"):
        granum.write(data, tmp_path / "o", "webdataset", media="copy")
    assert not (tmp_path / "o").exists()


def test_a_record_that_its_notes_promise(tmp_path: Path) -> None:
    root = written(tmp_path / "a")
    (root / "val-000000.tar").unlink()
    data, findings = found(root)
    assert len(data) == 4 and [f.code for f in findings.items] == ["file-missing"]


def test_there_is_no_shard(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no tar file"):
        granum.read(tmp_path, "webdataset")


def test_other_archives_are_not_claimed(tmp_path: Path) -> None:
    """Photos in an archive, without a number or a companion, are no shard."""
    root = tree(tmp_path, [("a.png", A), ("b.png", B)], "photos.tar")
    assert "webdataset" not in sniff(root)


def test_datasets_reads_what_is_written(tmp_path: Path) -> None:
    """An independent reader: the packaged module of the `datasets` library."""
    hf = pytest.importorskip("datasets")
    root = written(tmp_path / "a")
    files = {"train": str(root / "train-*.tar"), "val": str(root / "val-*.tar")}
    found = hf.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {k: len(v) for k, v in found.items()} == {"train": 3, "val": 1}
    row = found["train"][1]
    assert (row["__key__"], row["txt"], row["cls"]) == ("x_tar_1", "t1", 1)
    assert row["json"] == {"width": 4, "height": 3} and row["png"].size == (4, 3)


def test_through_a_store(tmp_path: Path) -> None:
    """Images keep their bytes in a store, and on the way to shards again."""
    granum.convert(tree(tmp_path), tmp_path / "s.granum")
    store = granum.open(tmp_path / "s.granum")
    assert store[0].image().size == (4, 3)
    granum.write(store, tmp_path / "o", "webdataset", media="copy", allow_loss=["all"])
    again = granum.read(tmp_path / "o")
    media = [s.row.media for s in again]
    assert [m and m.bytes for m in media] == [A, B]


def test_embedded_images_bound_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch, and a part of a store, ends where its images are big, however few they are."""
    monkeypatch.setattr("granum.loaders.reading.BYTES_PER_BATCH", 1)
    monkeypatch.setattr("granum.store.builder.PART_BYTES", 1)
    assert [p.rows for p in granum.read(tree(tmp_path)).parts] == [1, 1]
    granum.convert(tree(tmp_path), tmp_path / "s.granum")
    store = granum.open(tmp_path / "s.granum")
    assert [p.rows for p in store.parts] == [1, 1] and store[1].image().size == (6, 5)
