"""Evaluate predictions against truth by an official protocol."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from granum.errors import SizeUnknownError, UnknownNameError, UsageError
from granum.loaders.results.base import on_truth
from granum.loaders.results.base import results as forms
from granum.loaders.writing import with_sizes
from granum.metrics.base import Protocol, Result, joined_findings
from granum.metrics.evaluate import evaluate as run
from granum.metrics.evaluate import protocol_of, without_numbers
from granum.metrics.joining import join_columns
from granum.metrics.resampling import check_draws, difference, intervals, slices
from granum.schema import tables
from granum.schema.findings import Findings, OnError
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.disk import is_store
from granum.store.executor import executor
from granum.verbs._inputs import Given, opened
from granum.verbs._slicing import labels_of
from granum.verbs.convert import read

__all__ = ["evaluate"]

_DRAWS = 1000
_EMPTY = (b"[]", b"\xef\xbb\xbf[]")


def evaluate(
    source: Given,
    predictions: Given | None = None,
    *,
    protocol: str | Protocol,
    layer: str | None = None,
    truth_layer: str = tables.DEFAULT_LAYER,
    parameters: Mapping[str, Any] | None = None,
    results: str | None = None,
    images: str | Path | None = None,
    on_error: OnError = "fail",
    by: Sequence[str] = (),
    draws: int = 0,
    level: float = 0.95,
    seed: int = 0,
    against: Given | None = None,
    join: bool = False,
    prefix: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> Result:
    """The official numbers of predictions.

    Args:
        source: dataset or path that holds the truth.
        predictions: dataset or path that holds the predictions: a store, a source of any format,
            a COCO file of results (joined by image and category id), or files of results in the
            benchmark's own form. None: they are a layer of ``source``.
        layer: the layer of predictions; needed where several could be meant.
        truth_layer: the layer of ``source`` that is true.
        parameters: of the protocol.
        results: the form of files of results, where it cannot be told from them.
        images: the folder of the images, where sizes must be read and the source does not tell.
        on_error: what becomes of faulty records of ``source``: ``fail``, ``skip`` or ``fix``, the
            latter two with findings; those of predictions are left out (``fix``: mended) anyway.
        by: columns of samples (``split``, ``attr.weather``, ``col.light.dark``) or of groups: the
            numbers of each of their values, or of five equally full ranges.
        draws: bootstrap draws of the samples, for an interval of each number (0: none).
        level: share of the draws that lie in an interval.
        seed: equal seeds give equal draws.
        against: other predictions, to be compared on the same samples: a layer of the dataset of
            ``predictions``, or a dataset or path as those, with ``layer`` where it has it (1,000
            draws unless ``draws`` says). What was wrong with them is among the findings.
        join: add the numbers per sample to the store of ``source`` as derived columns
            ``eval.PROTOCOL.NUMBER``; none where nothing could be compared, which is a finding.
        prefix: of those columns instead of ``eval.PROTOCOL``.
        workers: processes that count parts.
        scheduler: a Dask cluster that does.

    Returns:
        The result: values, per class, per sample, curves, slices, intervals, difference, facts,
        findings.

    Raises:
        FindingsError: ``source`` has faults, under ``fail``.
        UnknownNameError: no such protocol, layer, column or form of results.
        UsageError: it is unclear which layer is meant, no sample is in both datasets, a number is
            out of its range, or the protocol cannot count again for slices or intervals.
        StoreError: ``join`` and ``source`` is no store.
        MissingExtraError: a package that the protocol needs is absent.
    """
    chosen = protocol_of(protocol, parameters)
    if draws or against is not None:
        check_draws(draws or _DRAWS, level)
    if results is not None:
        _check_form(results, predictions is None and against is None)
    faults = Findings(on_error=on_error)
    given = _opened(source, images, faults)
    truth = _sized(given.layer(truth_layer), chosen)
    labels = {name: labels_of(truth, name, groups=chosen.whole_groups) for name in by}
    asked = _Asked(given, truth, truth_layer, chosen, results, images, on_error)
    with executor(workers, scheduler) as pool:
        result, other = asked.judged(predictions, layer, pool)
        if against is not None:
            second, _ = asked.judged(*_rival(against, other, layer, predictions is None), pool)
            if _counted(result) and _counted(second):
                table = difference(result, second, draws=draws or _DRAWS, level=level, seed=seed)
                result = result.with_tables(difference=table)
            new = _of_rival(second.findings, result.findings)
            called = second.facts["prediction_layer"] if isinstance(against, Dataset) else against
            facts = {**result.facts, "against": str(called)}
            result = result.with_account(facts, joined_findings([result.findings, new]))
    if faults.counts:
        result = result.with_account(result.facts, joined_findings([faults, result.findings]))
    if by and _counted(result):
        tables_ = {name: slices(result, labels[name]) for name in by}
        result = result.with_tables(slices=tables_)
    if draws and _counted(result):
        spans = intervals(result, draws=draws, level=level, seed=seed)
        result = result.with_tables(intervals=spans)
    if join and (result.per_sample is not None or _counted(result)):
        join_columns(given, result, prefix)
    return result


def _counted(result: Result) -> bool:
    """Whether a result has numbers; where nothing could be compared, its findings say so."""
    return result.recount is not None or "nothing-to-compare" not in result.findings.counts


def _of_rival(findings: Findings, known: Findings) -> Findings:
    """What was found of the other predictions and not of the first: faults of the truth, which both
    runs meet, are told once."""
    shared = {f.code for f in findings.items if f in known.items}
    new = [f for f in findings.items if f not in known.items]
    out = Findings(on_error="skip")
    for code, n in Counter(f.code for f in new).items():
        both = known.counts[code] if code in shared else 0
        out.counts[code] = max(findings.counts[code] - both, n)
    out.items += [replace(f, path=f"against: {f.path}") for f in new]
    return out


@dataclass(frozen=True)
class _Asked:
    """What all runs that are judged have in common."""

    given: Dataset
    truth: Dataset
    truth_layer: str
    protocol: Protocol
    results: str | None
    images: str | Path | None
    on_error: OnError

    def judged(
        self, predictions: Given | None, layer: str | None, pool: Any
    ) -> tuple[Result, Dataset]:
        """The numbers of one run, and the dataset that its layer is in."""
        findings = Findings(on_error="fix" if self.on_error == "fix" else "skip")
        other, by = self.given, "key"
        if predictions is not None:
            read_ = self._results(predictions, findings)
            other = _opened(predictions, self.images, findings) if read_ is None else read_
            by = "source_id" if read_ is None and _of_results(other) else "key"
        own = predictions is None
        name = layer or _only_layer(other, without=self.truth_layer if own else None)
        found = other.layer(name)
        if own and name == self.truth_layer:
            raise UsageError(f"layer {name!r} cannot be judged by itself: name another (--layer)")
        result = run(self.truth, _sized(found, self.protocol), self.protocol, by=by, executor=pool)  # type: ignore[arg-type]
        if findings.errors and not result.facts["prediction_rows"]:
            result = without_numbers(result)  # all that was in the files was left out
        facts = dict(result.facts)
        if not own and not isinstance(predictions, Dataset):
            facts["predictions_from"] = str(predictions)
        joined = joined_findings([findings, result.findings])
        return result.with_account(facts, joined), other

    def _results(self, predictions: Given, findings: Findings) -> Dataset | None:
        """Read as files of results in a form of the protocol, if they are that."""
        if isinstance(predictions, Dataset):
            return None
        path = Path(predictions)
        if not path.exists():
            return None  # which the reader of datasets says
        if self.results is not None:
            return forms[self.results]().read(path, self.truth, findings)
        if is_store(path):
            return None
        if _is_empty_list(path):
            return on_truth(self.truth, tables.empty(tables.ANNOTATIONS).drop(["annotation_id"]))
        kinds = [forms[name] for name in forms]
        for kind in kinds:
            if self.protocol.name in kind.protocols and kind().sniff(path):
                return kind().read(path, self.truth, findings)
        return None


def _check_form(name: str, unused: bool) -> None:
    if name not in forms:
        raise UnknownNameError("form of results", name, forms.names())
    if unused:
        raise UsageError(f"results is {name!r}, but the predictions are a layer, not files")


def _rival(
    against: Given, other: Dataset, layer: str | None, within: bool
) -> tuple[Given | None, str | None]:
    """The predictions and the layer that ``against`` names."""
    if isinstance(against, Dataset):
        return against, layer if layer in against.meta.layers else None
    if str(against) in other.meta.layers:
        return (None if within else other), str(against)
    path = Path(against)
    if not path.exists():
        known = ", ".join(sorted(other.meta.layers))
        raise UsageError(f"against {str(against)!r}: no such file, nor a layer (layers: {known})")
    if layer is not None and is_store(path):
        found = opened(path)
        return found, layer if layer in found.meta.layers else None
    return against, None


def _opened(given: Given, images: str | Path | None, findings: Findings) -> Dataset:
    """A dataset, or what is read under the policy of ``findings``."""
    if isinstance(given, Dataset):
        return given
    return read(given, images=images, on_error=findings.on_error, findings=findings)


def _is_empty_list(path: Path) -> bool:
    """Whether a file is a COCO list of results in which nothing was found."""
    try:
        return path.stat().st_size < 100 and path.read_bytes().strip() in _EMPTY
    except OSError:
        return False


def _only_layer(dataset: Dataset, without: str | None) -> str:
    """The layer that was chosen, else the one that holds annotations, or the only one there is.

    Raises:
        UsageError: none does, or several do.
    """
    if dataset.meta.chosen and dataset.meta.layer != without:
        return dataset.meta.layer
    filled = [
        name
        for name in dataset.meta.layers
        if name != without and any(p.layer(name).num_rows for p in dataset.parts)
    ]
    if len(filled) == 1:
        return filled[0]
    if without is None and len(dataset.meta.layers) == 1:
        return dataset.meta.layer  # of a run that found nothing
    listed = ", ".join(filled or dataset.meta.layers)
    what = "several layers could be predictions" if filled else "no layer holds predictions"
    raise UsageError(f"{what}: name one with layer= (--layer). Layers: {listed}.")


def _sized(dataset: Dataset, protocol: Protocol) -> Dataset:
    """With sizes from the images' headers, where some are unknown, all can be read, and the
    protocol looks at them."""
    if protocol.sizeless and not any(is_relative(p.samples()).any() for p in dataset.parts):
        return dataset
    if not any(
        column(p.samples(), name).null_count for p in dataset.parts for name in ("width", "height")
    ):
        return dataset
    try:
        return with_sizes(dataset)
    except SizeUnknownError:
        return dataset  # protocols that need no size are content


def _of_results(dataset: Dataset) -> bool:
    """Whether it was read from a list of results, which names images by id only."""
    options = column(dataset.sources, "options", tables.SOURCES).to_pylist()
    return bool(options) and all(o is not None and json.loads(o).get("results") for o in options)
