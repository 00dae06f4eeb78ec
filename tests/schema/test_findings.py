"""Findings: what is counted, and which examples are kept."""

from __future__ import annotations

from granum.schema.findings import Findings


def test_one_message_for_many_rows_is_kept() -> None:
    found = Findings("skip", limit=10)
    found.add("empty-mask", "a.json", "/1", "30 masks", n=30)
    found.add("empty-mask", "b.json", "/2", "one more")  # past the limit: counted only
    assert found.counts == {"empty-mask": 31}
    assert [f.message for f in found.items] == ["30 masks"]


def test_examples_end_at_the_limit() -> None:
    found = Findings("skip", limit=3)
    for i in range(5):
        found.add("empty-mask", "a.json", str(i), "no pixel")
    found.add("bad-value", "a.json", "9", "other code")  # has a limit of its own
    assert [f.place for f in found.items] == ["0", "1", "2", "9"]
    assert found.counts["empty-mask"] == 5
