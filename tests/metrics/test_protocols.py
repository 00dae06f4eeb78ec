"""What holds for every protocol and every form of results."""

from __future__ import annotations

import contextlib
import inspect
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from granum.errors import UsageError
from granum.loaders.results.base import Results, results
from granum.metrics.base import Protocol, protocols
from granum.metrics.evaluate import protocol_of

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"


@pytest.mark.parametrize("name", protocols.names())
def test_a_protocol_says_what_it_is(name: str) -> None:
    kind = protocols[name]
    assert issubclass(kind, Protocol)
    assert kind.name == name
    assert kind.reference
    assert kind.__doc__
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (sys.modules[kind.__module__].__doc__ or "").count("\n") > 5  # source, ties, empty cases


@pytest.mark.parametrize("name", protocols.names())
def test_a_wrong_mode_is_refused(name: str) -> None:
    if "mode" not in inspect.signature(protocols[name]).parameters:
        return
    with pytest.raises(UsageError):
        protocol_of(name, {"mode": "offical", **({"positive": "ood"} if name == "ood" else {})})


@pytest.mark.parametrize("name", protocols.names())
def test_any_value_is_taken_or_refused(name: str) -> None:
    needed = {"positive": "ood"} if name == "ood" else {}
    for field in fields(protocols[name]):  # type: ignore[arg-type]
        for value in ("abc", 3, 0.5, True, None, [None], {"a": None}):
            with contextlib.suppress(UsageError):
                protocol_of(name, {**needed, field.name: value})


@pytest.mark.parametrize("name", protocols.names())
def test_the_page_knows_it(name: str) -> None:
    tables = DOCS.read_text("utf-8").split("\n## ")
    assert f"`{name}`" in tables[0], "the table of protocols"
    assert f"`{name}`" in next(t for t in tables if t.startswith("What each takes")).replace(
        "`coco-…`", "`coco-bbox` `coco-segm` `coco-keypoints`"
    )


@pytest.mark.parametrize("name", results.names())
def test_a_form_of_results(name: str, tmp_path: Path) -> None:
    kind = results[name]
    assert issubclass(kind, Results)
    assert kind.name == name
    assert kind.title and kind.spec
    assert kind.protocols and all(p in protocols for p in kind.protocols)
    assert f"`{name}`" in DOCS.read_text("utf-8")
    # Telling never raises.
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe\x00 no results")
    for path in (tmp_path, tmp_path / "text.txt", tmp_path / "absent"):
        assert kind().sniff(path) in (True, False)
