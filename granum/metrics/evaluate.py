"""Evaluation: a protocol run over the parts of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any
from typing import Protocol as Interface

from granum.errors import UsageError
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
    pairing = Pairing(truth, predictions, needs=chosen.needs, by=by)
    context = Context(
        categories=truth.categories,
        map_root=_map_root(truth),
        prediction_map_root=_map_root(predictions),
        samples=len(truth),
        prediction_categories=predictions.categories,
        prediction_rows=pairing.categories,
    )
    run = executor or Executor()
    counted = list(run.map(partial(_counted, pairing, chosen, context), range(len(pairing))))
    result = chosen.result([state for state, _, _ in counted], context)
    found = [pairing.unknown_samples(), *(f for _, f, _ in counted), result.findings]
    facts = {
        "reference": chosen.reference,
        "parameters": chosen.parameters(),
        "samples": len(truth),
        "truths": sum(n[0] for _, _, n in counted),
        "predictions": sum(n[1] for _, _, n in counted),
        "truth_layer": truth.meta.layer,
        "prediction_layer": predictions.meta.layer,
        **result.facts,
    }
    return replace(result, findings=joined_findings(found), facts=facts)


def _counted(
    pairing: Pairing, protocol: Protocol, context: Context, number: int
) -> tuple[Any, Findings, tuple[int, int]]:
    truth, predictions, findings = pairing.part(number)
    rows = (truth.annotations.num_rows, predictions.annotations.num_rows)
    return protocol.state(truth, predictions, context), findings, rows


def _map_root(dataset: Dataset) -> str | None:
    return dataset.meta.map_root or dataset.meta.media_root
