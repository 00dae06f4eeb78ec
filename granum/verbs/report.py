"""A report: one page that shows a dataset, what was found in it, and what was made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from granum.browse import page
from granum.browse.page import Page
from granum.errors import GranumError, UsageError
from granum.verbs._inputs import Given, named, opened
from granum.verbs._report_album import Album
from granum.verbs._report_asked import Asked, loaded
from granum.verbs._report_distributions import distributions
from granum.verbs._report_diversity import diversity
from granum.verbs._report_duplicates import duplicates as duplicate_blocks
from granum.verbs._report_evaluation import evaluation
from granum.verbs._report_findings import findings
from granum.verbs._report_gallery import gallery, kinds
from granum.verbs._report_granularity import granularity
from granum.verbs._report_scores import scores
from granum.verbs._report_summary import before_after as before_after_blocks
from granum.verbs._report_summary import summary
from granum.verbs._report_training import recorded, training
from granum.verbs._report_views import views
from granum.verbs._stores import free_path

__all__ = ["SECTIONS", "Section", "report"]

Section = Callable[[Asked], list[str]]
"""Blocks of HTML (see ``granum.browse.page``); none where there is nothing to show."""

SECTIONS: dict[str, Section] = {
    "Summary": summary,
    "Before and after": before_after_blocks,
    "Pictures": gallery,
    "Kinds of annotation": kinds,
    "Distributions": distributions,
    "Scores": scores,
    "Findings": findings,
    "Duplicates and leaks": duplicate_blocks,
    "Diversity": diversity,
    "Selections": views,
    "Granularity": granularity,
    "Evaluation": evaluation,
    "Training": training,
}
"""The sections in their order. Adding one is a function and a line here."""


def report(
    source: Given,
    out: str | Path,
    *,
    title: str | None = None,
    layer: str | None = None,
    evaluations: Iterable[Any] = (),
    runs: Iterable[Any] = (),
    duplicates: Any = None,
    leakage: Any = None,
    statistics: Any = None,
    before_after: Mapping[str, Any] | None = None,
    pictures: int = 24,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a page that shows a dataset: one HTML file without scripts that holds its pictures.

    A section is there where its data are. Pictures are opened only where they are shown, and no
    more than about 8 MB of them; what cannot be read is said, and is no error.

    Args:
        source: a dataset, or the path of one.
        out: the file to write (``.html``).
        title: of the page; by default the name of the store.
        layer: whose annotations are shown; by default the current one.
        evaluations: results of ``granum.evaluate``, or files that ``granum eval -o`` wrote.
        runs: results of ``granum.train``, or their folders.
        duplicates: a result of ``granum.curate.duplicates``, or its JSON; by default, what saved
            views say of it.
        leakage: a result of ``granum.curate.leakage``, or its JSON; likewise.
        statistics: summaries of ``granum.curate`` (GRADE, Vendi, Hill numbers…), one or several;
            by default those that need counts and stored vectors only.
        before_after: numbers by name, or dictionaries of numbers by name, shown as a table.
        pictures: how many the main gallery has; 0 for no pictures at all.
        seed: of what is drawn at random.
        overwrite: replace ``out``.

    Returns:
        ``path``, ``sections`` (titles), ``pictures`` (how many are shown), ``unreadable`` (how
        many could not be read), ``bytes``.

    Raises:
        ExistsError: ``out`` is there.
        UsageError: ``pictures`` is negative.
        UnknownNameError: no such layer.
        FormatError: a result that was named by its file cannot be read.
    """
    if pictures < 0:
        raise UsageError(f"pictures must be at least 0, not {pictures}")
    target = Path(out)
    free_path(target, overwrite)
    dataset = opened(source)
    name = title or named(source, 1)
    if layer is not None:
        dataset = dataset.layer(layer)
    asked = Asked(
        dataset=dataset,
        album=Album(dataset, wanted=pictures > 0),
        pictures=pictures,
        seed=seed,
        evaluations=[loaded(one) for one in evaluations],
        runs=[recorded(run) for run in runs],
        duplicates=loaded(duplicates),
        leakage=loaded(leakage),
        statistics=loaded(statistics),
        before_after=before_after or {},
    )
    made = Page(name, _subtitle(asked))
    for heading, section in SECTIONS.items():
        made.add(heading, *_blocks(section, asked))
    if asked.album.left_out:
        words = f"{asked.album.left_out} further pictures were left out to keep this page small."
        made.add("Left out", page.text(words))
    written = made.write(target, overwrite=overwrite)
    return {
        "path": str(written),
        "sections": [heading for heading, _ in made.sections],
        "pictures": asked.album.taken,
        "unreadable": len(asked.album.unreadable),
        "bytes": written.stat().st_size,
    }


def _subtitle(asked: Asked) -> str:
    dataset = asked.dataset
    store = dataset.meta.store
    where = f" · {store.path}" if store is not None else ""
    return f"granum report · layer {dataset.meta.layer}{where}"


def _blocks(section: Section, asked: Asked) -> list[str]:
    """The blocks of a section; what it could not do, in words."""
    try:
        return section(asked)
    except GranumError as error:
        return [page.text(f"This could not be shown: {error}")]
