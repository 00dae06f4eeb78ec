"""A result of an evaluation as a file: JSON, Markdown, a page, or a table of its samples."""

from __future__ import annotations

from pathlib import Path

from granum.browse.page import Page
from granum.errors import UsageError
from granum.metrics.base import Result
from granum.verbs._report_evaluation import result_blocks

__all__ = ["check_output", "write_result"]

_SUFFIXES = (".json", ".md", ".html", ".csv")


def check_output(path: str | Path) -> None:
    """Whether a result can be written there, before it is made.

    Raises:
        UsageError: another ending, or no such folder.
    """
    out = Path(path)
    if out.suffix not in _SUFFIXES:
        raise UsageError(f"{out.name}: a result is written as .json, .md, .html or .csv")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}")


def write_result(result: Result, path: str | Path) -> Path:
    """Write a result; what is there is replaced.

    Args:
        result: of an evaluation.
        path: ends in ``.json`` (all but the samples), ``.md`` (values, intervals, slices),
            ``.html`` (a page with curves and classes) or ``.csv`` (numbers per sample).

    Raises:
        UsageError: another ending, no such folder, or ``.csv`` of a protocol without numbers per
            sample.
    """
    check_output(path)
    out = Path(path)
    if out.suffix == ".csv":
        if result.per_sample is None:
            raise UsageError(f"{result.protocol} gives no numbers per sample here")
        import pyarrow.csv

        pyarrow.csv.write_csv(result.per_sample, out)
        return out
    if out.suffix == ".html":
        reference = f"equal to {result.facts.get('reference', 'no reference')}"
        page = Page(result.protocol, f"granum eval · {reference}")
        page.add("Numbers", *result_blocks(result.to_dict()))
        return page.write(out, overwrite=True)
    text = result.to_json() if out.suffix == ".json" else result.markdown() + "\n"
    out.write_text(text, encoding="utf-8")
    return out
