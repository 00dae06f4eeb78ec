"""The XML reader: trees with lines, streaming, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import granum.loaders._xml as module
from granum.errors import FormatError
from granum.loaders._xml import MAX_DEPTH, iter_xml, parse_xml, read_xml, root_tag

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE x [
 <!ENTITY a "aaaaaaaaaa">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
]>
<annotation>&b;</annotation>"""


def test_tree_with_lines_and_attributes():
    root = parse_xml(b'<a x="1">\n <b> t&amp;u </b>\n <c/><b>2</b>\n</a>', "f.xml")
    assert (root.tag, root.attributes, root.line) == ("a", {"x": "1"}, 1)
    assert [(c.tag, c.line) for c in root.children] == [("b", 2), ("c", 3), ("b", 3)]
    assert root.children[0].text == " t&u "
    assert root.value("b") == "t&u" and root.value("c") == "" and root.value("d") is None
    assert [b.text for b in root.all("b")] == [" t&u ", "2"]
    assert root.find("c") is root.children[1] and root.find("d") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><a>größe</a>'
    assert parse_xml(text.encode(encoding), "f.xml").text == "größe"


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"", "line 1, column 1", "no element found"),
        (b"<a>\n<b>\n</a>", "line 3, column 3", "mismatched tag"),
        (b"<a>\n\n<b", "line 3, column 1", "unclosed token"),
        (b"<a></a><b></b>", "line 1, column 8", "junk after document element"),
        (b"<a>\n&no;</a>", "line 2, column 1", "undefined entity"),
        (b"<a>\x00</a>", "line 1, column 4", "not well-formed"),
        (BOMB, "line 3", "entity 'a'"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<a>&e;</a>', "line 1", "'e'"),
        (b'<!DOCTYPE a SYSTEM "a.dtd">\n<a>&e;</a>', "line 2", "not defined"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "line 1", "encoding"),
        (b"<a>" * (MAX_DEPTH + 1), "line 1", "deep"),
    ],
)
def test_what_is_refused_names_the_line(content, place, reason, tmp_path):
    path = tmp_path / "f.xml"
    path.write_bytes(content)
    for parse in (lambda: read_xml(path), lambda: list(iter_xml(path, {"a"}))):
        with pytest.raises(FormatError) as caught:
            parse()
        assert caught.value.path == str(path)
        assert caught.value.place is not None and caught.value.place.startswith(place)
        assert reason in caught.value.reason


def test_a_doctype_without_entities_is_read():
    assert parse_xml(b"<!DOCTYPE boost_serialization>\n<a/>", "f.xml").line == 2


def test_absent_file(tmp_path):
    with pytest.raises(FormatError, match=r"absent\.xml: cannot be read"):
        read_xml(tmp_path / "absent.xml")
    with pytest.raises(FormatError, match=r"absent\.xml: cannot be read"):
        list(iter_xml(tmp_path / "absent.xml", {"a"}))


def test_streaming_gives_wanted_elements_complete(tmp_path):
    path = tmp_path / "f.xml"
    path.write_text(
        "<all><meta><image>not alone</image></meta>\n"
        "<skip><image id='0'/></skip>\n"
        + "".join(f"<image id='{i}'><box>{i}</box></image>\n" for i in range(1, 40_000))
        + "</all>"
    )
    found = list(iter_xml(path, {"image", "meta"}))
    assert [f.tag for f in found[:3]] == ["meta", "image", "image"]
    assert found[0].value("image") == "not alone"
    assert [f.attributes["id"] for f in found[1:]] == [str(i) for i in range(40_000)]
    assert found[2].value("box") == "1" and found[2].line == 3


class _Counted(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        _Counted.reads += 1
        return super().read(size)


def test_streaming_reads_no_further_than_needed(tmp_path, monkeypatch):
    content = b"<all>" + b"<image/>" * 1000 + b"</all>"
    monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(Path, "open", lambda *_: _Counted(content))
    stream = iter_xml(tmp_path / "f.xml", {"image"})
    assert next(stream).tag == "image" and _Counted.reads == 1
    assert sum(1 for _ in stream) == 999 and _Counted.reads == len(content) // 64 + 2


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        (b"<annotation><x>", "annotation"),
        (b"<?xml version='1.0'?><!-- c --><boost_serialization>", "boost_serialization"),
        (b"not xml", None),
        (b"", None),
        (BOMB, None),
    ],
)
def test_root_tag_never_raises(tmp_path: Path, content, tag):
    path = tmp_path / "f.xml"
    path.write_bytes(content)
    assert root_tag(path) == tag
    assert root_tag(tmp_path / "absent") is None
    assert root_tag(tmp_path) is None
