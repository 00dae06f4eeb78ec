"""Of a report: official numbers, per class and as curves; predictions beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from granum.browse import page
from granum.browse.charts import bars
from granum.browse.draw import sheet
from granum.schema import rows
from granum.schema.tables import DEFAULT_LAYER
from granum.verbs._report_album import Shot
from granum.verbs._report_asked import CHART, Asked, plain
from granum.verbs._report_curves import curve_charts
from granum.verbs._report_granularity import tree_layers
from granum.verbs._report_scores import scalar_columns

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["evaluation", "result_blocks"]

_CLASSES = 30
_COUNTS = ("category", "truths", "predictions", "n")


def evaluation(asked: Asked) -> list[str]:
    """Each result; numbers per sample that were joined back; predictions beside truth."""
    blocks = []
    for one in asked.evaluations:
        blocks += result_blocks(plain(one))
    joined = [s for s in scalar_columns(asked.dataset) if s.name.startswith("eval.")]
    if joined:
        charts = [(s.name.removeprefix("eval."), s.chart()) for s in joined]
        blocks += [page.heading("Numbers per image"), page.beside(charts, small=True)]
    for layer in scored_layers(asked):
        gallery = asked.album.gallery(list(_beside_truth(asked, layer)), "wide", most=900)
        if gallery:
            blocks += [page.heading(f"{DEFAULT_LAYER} and {layer}"), *gallery]
    return blocks


# -------------------------------------------------------------------- results


def result_blocks(found: Mapping[str, Any]) -> list[str]:
    """Of ``Result.to_dict``, as ``granum eval -o`` writes it."""
    facts = found.get("facts") or {}
    layers = [facts[n] for n in ("prediction_layer", "truth_layer") if facts.get(n)]
    if len(set(layers)) < 2:  # of two datasets
        layers = []
    title = f"{found['protocol']}: {' against '.join(map(str, layers))}".removesuffix(": ")
    blocks = [page.heading(title), page.figures(found["values"].items())]
    if facts.get("evaluator"):
        blocks.append(page.text(f"Counted by {facts['evaluator']}.", soft=True))
    blocks += _tables(found)
    charts = [c for c in [_per_class(found.get("per_class"))] if c]
    charts += curve_charts(found.get("curves") or {})
    if charts:
        blocks.append(page.beside(charts))
    counts = (found.get("findings") or {}).get("counts") or {}
    if counts:
        rows_ = [[code, n] for code, n in counts.items()]
        blocks.append(page.table(rows_, ["finding", "count"]))
    return blocks


def _tables(found: Mapping[str, Any]) -> list[str]:
    """Intervals, the difference to another run, and slices."""
    other = (found.get("facts") or {}).get("against") or "another run"
    titles = {"intervals": "Intervals by the bootstrap", "difference": f"Against {other}"}
    listed = [(titles[n], found[n]) for n in titles if found.get(n)]
    listed += [(f"By {name}", rows_) for name, rows_ in (found.get("slices") or {}).items()]
    blocks = []
    for title, rows_ in listed:
        if rows_:
            cells = [list(row.values()) for row in rows_]
            blocks += [page.heading(title), page.table(cells, list(rows_[0]))]
    return blocks


def _per_class(listed: Sequence[Mapping[str, Any]] | None) -> tuple[str, str] | None:
    """Bars of the first number that is no count, the best class first."""
    names = [n for n in (listed[0] if listed else ()) if n not in _COUNTS]
    for name in names:
        known = [(r, r[name]) for r in listed or () if isinstance(r[name], float)]
        if known:
            known.sort(key=lambda pair: -pair[1])
            values = {str(r["category"]): float(v) for r, v in known}
            return f"{name} by class", bars(values, most=_CLASSES, width=CHART)
    return None


# ------------------------------------------------------------- beside the truth


def scored_layers(asked: Asked) -> list[str]:
    """Layers of predictions: those with scores that are no mask trees."""
    trees = tree_layers(asked.dataset)
    return [
        name
        for name in asked.dataset.meta.layers
        if name not in (DEFAULT_LAYER, *trees)
        and any(
            "score" in t.column_names and t["score"].null_count < t.num_rows
            for t in (p.layer(name) for p in asked.dataset.parts)
        )
    ]


def _beside_truth(asked: Asked, layer: str) -> Iterator[Shot]:
    """Samples with predictions, those outside of training first."""
    if DEFAULT_LAYER not in asked.dataset.meta.layers:
        return
    found = [p.start + np.flatnonzero(np.diff(p.offsets(layer))) for p in asked.dataset.parts]
    index = np.concatenate(found).astype(np.int64)
    index = index[asked.rng(layer).permutation(len(index))]
    split, splits = asked.splits
    train = splits.index("train") if "train" in splits else -2
    index = index[np.argsort(split[index] == train, kind="stable")]
    for i in index[: min(asked.few, 4)].tolist():
        name = f"{splits[split[i]]}\n" if split[i] >= 0 else ""
        yield partial(_pair, asked, i, layer), f"{name}{asked.keys[i].as_py()}"


def _pair(asked: Asked, index: int, layer: str) -> Image | None:
    """Truth of the kinds that are predicted, and predictions."""
    truth = asked.dataset.layer(DEFAULT_LAYER)[index]
    predicted = asked.dataset.layer(layer)[index]
    kinds = {a.kind for a in predicted.annotations}
    true = [a for a in truth.annotations if a.kind in kinds]
    shown = best(predicted.annotations, len(true))
    pictures = [
        asked.album.drawn(truth, true, size=480),
        asked.album.drawn(predicted, shown, size=480),
    ]
    drawn = [p for p in pictures if p is not None]
    if len(drawn) < 2:
        return None
    more = len(predicted.annotations) > len(shown)
    titles = [DEFAULT_LAYER, f"{layer}, the best {len(shown)}" if more else layer]
    return sheet(drawn, columns=2, titles=titles)


def best(predicted: Sequence[rows.Annotation], truths: int) -> list[rows.Annotation]:
    """The predictions of the highest scores: as many as there are truths, three to twenty."""
    ranked = sorted(predicted, key=lambda a: -1.0 if a.score is None else a.score, reverse=True)
    return ranked[: min(max(truths, 3), 20)]
