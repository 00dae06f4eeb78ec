"""Evaluation: a protocol run over the parts of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any
from typing import Protocol as Interface

from granum.errors import UsageError
from granum.metrics._group_pairing import GroupPairing
from granum.metrics.base import Context, Protocol, Result, joined_findings, protocols
from granum.metrics.pairing import Match, Pairing
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["evaluate", "protocol_of"]


class Mapper(Interface):
    """Anything that applies a function to items and gives the results in order."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]: ...


def protocol_of(protocol: str | Protocol, parameters: Mapping[str, Any] | None = None) -> Protocol:
    """A protocol by name, with its parameters.

    Raises:
        UnknownNameError: no such protocol.
        UsageError: no such parameter.
    """
    given = dict(parameters or {})
    if isinstance(protocol, Protocol):
        return replace(protocol, **given) if given else protocol  # type: ignore[type-var]
    kind = protocols[protocol]
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise UsageError(
            f"{protocol} has no parameter {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    return kind(**given)


def evaluate(
    truth: Dataset,
    predictions: Dataset,
    protocol: str | Protocol,
    *,
    parameters: Mapping[str, Any] | None = None,
    by: Match = "key",
    executor: Mapper | None = None,
) -> Result:
    """The numbers of a protocol.

    Args:
        truth: a dataset whose current layer is true.
        predictions: the same dataset seen with another layer, or another dataset.
        protocol: its name, or itself.
        parameters: of the protocol.
        by: what samples of two datasets are joined by: ``key`` or ``source_id``.
        executor: counts the parts; anything with ``map(function, items)``.

    Returns:
        The result; its findings say what was left out, its facts what was counted.

    Raises:
        MissingExtraError: a package that the protocol needs is absent.
        UnknownNameError, UsageError: no such protocol or parameter.
        SizeUnknownError: pixels are needed where sizes are unknown.
    """
    chosen = protocol_of(protocol, parameters)
    pairing = (GroupPairing if chosen.whole_groups else Pairing)(
        truth,
        predictions,
        needs=chosen.needs,
        by=by,
        kinds=(chosen.truth_kinds, chosen.kinds),
        scale_free=chosen.scale_free,
    )
    context = Context(
        categories=truth.categories,
        map_root=_map_root(truth),
        prediction_map_root=_map_root(predictions),
        samples=len(truth),
        prediction_categories=predictions.categories,
        prediction_rows=pairing.categories,
        groups=truth.groups,
    )
    run = executor or Executor()
    counted = list(run.map(partial(_counted, pairing, chosen, context), range(len(pairing))))
    result = chosen.result([state for state, _, _ in counted], context)
    facts = {
        "reference": chosen.reference,
        "parameters": chosen.parameters(),
        "samples": len(truth),
        "truth_rows": _rows(truth),
        "prediction_rows": _rows(predictions),
        "truths": sum(n[0] for _, _, n in counted),
        "predictions": sum(n[1] for _, _, n in counted),
        "truth_layer": truth.meta.layer,
        "prediction_layer": predictions.meta.layer,
        **result.facts,
    }
    result = _without_numbers(result) if _nothing(facts, "prediction") else result
    found = [pairing.unknown_samples(), *(f for _, f, _ in counted), result.findings]
    found.append(_judged(result, facts))
    return result.with_account(facts, joined_findings(found))


def _rows(dataset: Dataset) -> int:
    return sum(part.layer(dataset.meta.layer).num_rows for part in dataset.parts)


def _nothing(facts: Mapping[str, Any], side: str) -> bool:
    """Whether a layer has rows, and none of them was compared."""
    return bool(facts[f"{side}_rows"]) and not facts[f"{side}s"]


def _without_numbers(result: Result) -> Result:
    """All undefined: numbers of predictions that were left out would say that they are wrong."""
    values = dict.fromkeys(result.values)
    return replace(result, values=values, per_class=None, per_sample=None, curves={}, recount=None)


def _judged(result: Result, facts: Mapping[str, Any]) -> Findings:
    """Layers of which nothing was compared, and numbers that nothing defines."""
    found = Findings(on_error="skip")
    for side in ("truth", "prediction"):
        if not facts[f"{side}s"]:
            layer, rows = facts[f"{side}_layer"], facts[f"{side}_rows"]
            why = f"none of its {rows} rows can be compared" if rows else "it has no row"
            message = f"layer {layer!r}: {why} by {result.protocol}"
            who = "truth" if side == "truth" else "predictions"
            found.add("nothing-to-compare", who, None, message)
    undefined = [name for name, value in result.values.items() if value is None]
    if undefined and "undefined-number" not in result.findings.counts:
        message = f"{', '.join(undefined)}: nothing defines them"
        found.add("undefined-number", "values", None, message, len(undefined))
    return found


def _counted(
    pairing: Pairing, protocol: Protocol, context: Context, number: int
) -> tuple[Any, Findings, tuple[int, int]]:
    truth, predictions, findings = pairing.part(number)
    rows = (truth.annotations.num_rows, predictions.annotations.num_rows)
    return protocol.state(truth, predictions, context), findings, rows


def _map_root(dataset: Dataset) -> str | None:
    return dataset.meta.map_root or dataset.meta.media_root
