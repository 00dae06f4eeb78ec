"""Evaluation: a protocol run over the parts of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from typing import Protocol as Interface

import msgspec
import numpy as np

from granum.errors import UsageError
from granum.metrics._group_pairing import GroupPairing
from granum.metrics.base import Context, Protocol, Result, joined_findings, protocols
from granum.metrics.pairing import Match, Pairing
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["Piece", "counted", "evaluate", "finished", "protocol_of", "without_numbers"]


class Piece(NamedTuple):
    """What one part gave: the protocol's state, findings, how many rows were there. One that names
    layers tells of all parts, and has no state."""

    state: Any
    findings: Findings
    counts: Mapping[str, int]
    layers: Mapping[str, str] = {}


class Mapper(Interface):
    """Anything that applies a function to items and gives the results in order."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]: ...


def protocol_of(protocol: str | Protocol, parameters: Mapping[str, Any] | None = None) -> Protocol:
    """A protocol by name, with its parameters.

    Raises:
        UnknownNameError: no such protocol.
        UsageError: no such parameter, or a value of another type.
    """
    given = dict(parameters or {})
    kind = type(protocol) if isinstance(protocol, Protocol) else protocols[protocol]
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise UsageError(
            f"{kind.name} has no parameter {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    hints = get_type_hints(kind) if given else {}
    for name, value in given.items():
        given[name] = _fitting(f"{kind.name}: {name}", value, hints[name])
    if isinstance(protocol, Protocol):
        return replace(protocol, **given) if given else protocol  # type: ignore[type-var]
    return kind(**given)


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """A parameter's value as its type has it: a list as a tuple, one value as a tuple of it.

    Raises:
        UsageError: it is of another type.
    """
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    faults = []
    for given in (plain, [plain]):
        try:
            return msgspec.convert(given, hint)
        except msgspec.ValidationError as error:
            text = str(error).replace("`", "").lower()
            faults.append(text.replace("array", "a list").replace("object", "an object"))
    raise UsageError(f"{name} is {value!r}; {_wanted(hint) or faults[0]}")


_TOLD = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}


def _wanted(hint: Any) -> str:
    """What a field of a plain type takes, for people."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if all(kind in _TOLD for kind in kinds):
        return f"it takes {' or '.join(_TOLD[kind] for kind in kinds)}"
    named = [v for kind in kinds for v in get_args(kind) if get_origin(kind) is Literal]
    return f"it must be {', '.join(map(str, named[:-1]))} or {named[-1]}" if named else ""


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
    context, pieces = counted(chosen, truth, predictions, by=by, executor=executor)
    return finished(chosen, pieces, context)


def counted(
    protocol: Protocol,
    truth: Dataset,
    predictions: Dataset,
    *,
    by: Match = "key",
    executor: Mapper | None = None,
) -> tuple[Context, list[Piece]]:
    """The states of all parts, with what holds for all of them; arguments as of ``evaluate``."""
    pairing = (GroupPairing if protocol.whole_groups else Pairing)(
        truth,
        predictions,
        needs=protocol.needs,
        by=by,
        kinds=(protocol.truth_kinds, protocol.kinds),
        scale_free=protocol.scale_free,
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
    pieces = list(run.map(partial(_counted, pairing, protocol, context), range(len(pairing))))
    whole = {"truth_rows": _rows(truth), "prediction_rows": _rows(predictions)}
    layers = {"truth_layer": truth.meta.layer, "prediction_layer": predictions.meta.layer}
    return context, [*pieces, Piece(None, pairing.unknown_samples(), whole, layers)]


def finished(protocol: Protocol, pieces: Sequence[Piece], context: Context) -> Result:
    """The numbers of all parts, with findings and an account of what was compared."""
    result = protocol.result([p.state for p in pieces if not p.layers], context)
    totals: Counter[str] = Counter()
    layers: dict[str, str] = {}
    for piece in pieces:
        totals.update(piece.counts)
        layers.update(piece.layers)
    facts = {
        "reference": protocol.reference,
        "mode": getattr(protocol, "mode", "official"),
        "parameters": protocol.parameters(),
        "samples": context.samples,
        **{f"{n}{s}": totals[f"{n}{s}"] for s in ("_rows", "s") for n in ("truth", "prediction")},
        **layers,
        **result.facts,
    }
    result = without_numbers(result) if _nothing(facts, "prediction") else result
    # What concerns all samples comes first.
    ordered = sorted(pieces, key=lambda p: not p.layers)
    found = [*(p.findings for p in ordered), result.findings, _judged(result, facts)]
    return result.with_account(facts, joined_findings(found))


def _rows(dataset: Dataset) -> int:
    return sum(part.layer(dataset.meta.layer).num_rows for part in dataset.parts)


def _nothing(facts: Mapping[str, Any], side: str) -> bool:
    """Whether a layer has rows, and none of them was compared."""
    return bool(facts[f"{side}_rows"]) and not facts[f"{side}s"]


def without_numbers(result: Result) -> Result:
    """All undefined: numbers of predictions that were left out would say that they are wrong."""
    values = dict.fromkeys(result.values)
    return replace(result, values=values, per_class=None, per_sample=None, curves={}, recount=None)


def _judged(result: Result, facts: Mapping[str, Any]) -> Findings:
    """Layers of which nothing was compared, and numbers that nothing defines."""
    found = Findings(on_error="skip")
    for side in ("truth", "prediction"):
        if not facts[f"{side}s"]:
            layer, rows = facts[f"{side}_layer"], facts[f"{side}_rows"]
            none = f"none of its {rows} rows can be compared by {result.protocol}"
            message = f"layer {layer!r}: {none if rows else 'it has no row'}"
            who = "truth" if side == "truth" else "predictions"
            found.add("nothing-to-compare", who, None, message)
    undefined = [name for name, value in result.values.items() if value is None]
    if undefined and "undefined-number" not in result.findings.counts:
        message = f"{', '.join(undefined)}: nothing defines them"
        found.add("undefined-number", "values", None, message, len(undefined))
    return found


def _counted(pairing: Pairing, protocol: Protocol, context: Context, number: int) -> Piece:
    truth, predictions, findings = pairing.part(number)
    counts = {
        "truths": truth.annotations.num_rows,
        "predictions": predictions.annotations.num_rows,
    }
    return Piece(protocol.state(truth, predictions, context), findings, counts)


def _map_root(dataset: Dataset) -> str | None:
    return dataset.meta.map_root or dataset.meta.media_root
