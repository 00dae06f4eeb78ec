"""Info, show, formats, gc: looking at what is there."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import ExistsError, GranumError, UnknownNameError
from granum.loaders.base import formats, options_of
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.disk import Store
from granum.verbs import expecting
from granum.verbs._derived import columns_of, derived_text, views_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from granum.schema.rows import Annotation
    from granum.store.view import SampleView

__all__ = ["describe_formats", "gc", "info", "info_text", "moved_by", "show"]


def info(dataset: Dataset, *, expect: str | None = None) -> dict[str, Any]:
    """Counts and facts of a dataset, JSON-serialisable: samples, splits; layers with producer,
    kinds and filled columns; derived columns with producer and range; views, categories, sources,
    roots, lineage.

    Args:
        dataset: any.
        expect: a published dataset, whose counts come beside ours as ``expected`` (see
            ``expecting.expect``).

    Raises:
        UnknownNameError: no counts of ``expect`` are known.
    """
    expected = {} if expect is None else {"expected": expecting.expect(dataset, expect)}
    layers: dict[str, Any] = {}
    for name, facts in dataset.meta.layers.items():
        kinds: Counter[str] = Counter()
        filled: Counter[str] = Counter()
        total = 0
        for part in dataset.parts:
            table = part.layer(name)
            total += table.num_rows
            for value in pc.value_counts(column(table, "kind").cast(pa.string())).to_pylist():
                kinds[value["values"] or "?"] += value["counts"]
            for column_name in table.column_names:
                filled[column_name] += table.num_rows - table[column_name].null_count
        layers[name] = {
            **{k: v for k, v in facts.items() if v is not None},
            "annotations": total,
            "kinds": dict(kinds.most_common()),
            "columns": {n: c for n, c in filled.items() if c and n not in _SELF_EVIDENT},
        }
    samples = dataset.samples(["split", "media_kind", "width", "height", "group"])
    splits = pc.value_counts(samples["split"].cast(pa.string())).to_pylist()
    width, height = samples["width"].drop_null(), samples["height"].drop_null()
    store = dataset.meta.store
    return {
        "path": None if store is None else str(store.path),
        "fingerprint": None if store is None else store.manifest["fingerprint"],
        "samples": len(dataset),
        "groups": dataset.groups.num_rows,
        "splits": {s["values"] or "(none)": s["counts"] for s in splits},
        "sizes": None
        if not len(width)
        else {
            "width": [
                int(pc.min(width).as_py()),
                int(np.median(width)),
                int(pc.max(width).as_py()),
            ],
            "height": [
                int(pc.min(height).as_py()),
                int(np.median(height)),
                int(pc.max(height).as_py()),
            ],
            "unknown": len(dataset) - len(width),
        },
        "layers": layers,
        "columns": columns_of(dataset),
        "views": views_of(dataset),
        "categories": {
            "total": dataset.categories.num_rows,
            "counts": dict(sorted(dataset.counts().items(), key=lambda c: -c[1])),
        },
        "sources": [
            {"path": s["path"], "format": s["format"]} for s in dataset.sources.to_pylist()
        ],
        "media_root": dataset.meta.media_root,
        "lineage": list(dataset.meta.lineage),
        **expected,
    }


_SELF_EVIDENT = {"annotation_id", "sample", "kind", "origins", "ordinal", "shape", "source_id"}


def info_text(facts: dict[str, Any], categories: int = 12) -> str:
    """``info`` for people."""
    lines = [f"{facts['samples']} samples"]
    if facts["groups"]:
        lines[0] += f" in {facts['groups']} groups"
    if set(facts["splits"]) - {"(none)"}:
        lines.append("splits: " + ", ".join(f"{k} {v}" for k, v in facts["splits"].items()))
    if facts["sizes"]:
        w, h = facts["sizes"]["width"], facts["sizes"]["height"]
        lines.append(
            f"sizes: width {w[0]}..{w[2]} (median {w[1]}), height {h[0]}..{h[2]} (median {h[1]})"
        )
    for name, layer in facts["layers"].items():
        kinds = ", ".join(f"{k} {v}" for k, v in layer["kinds"].items())
        lines.append(f"layer {name}: {layer['annotations']} annotations ({kinds}){_origin(layer)}")
        stored = {k: v for k, v in layer["columns"].items() if not k.startswith("col.")}
        lines.append("  columns: " + ", ".join(f"{k} {v}" for k, v in stored.items()))
    lines += derived_text(facts)
    counts = facts["categories"]["counts"]
    shown = ", ".join(f"{k} {v}" for k, v in list(counts.items())[:categories])
    more = f", … {len(counts) - categories} more" if len(counts) > categories else ""
    lines.append(f"categories: {facts['categories']['total']}: {shown}{more}")
    if facts["sources"]:
        names = ", ".join(f"{s['path']} ({s['format']})" for s in facts["sources"][:6])
        lines.append(f"read from: {names}{' …' if len(facts['sources']) > 6 else ''}")
    for step in facts["lineage"]:
        for f in step.get("findings") or []:
            lines.append(f"found in {step.get('source')}: {f['n']} {f['code']} ({f['done']})")
    if facts["media_root"]:
        lines.append(f"images: {facts['media_root']}")
    return "\n".join(lines)


def _origin(layer: dict[str, Any]) -> str:
    """By whom and when a layer was made, and what it stands on."""
    told = f", by {layer['producer']}" if layer.get("producer") else ""
    if layer.get("parent"):
        told += f", {'in place of' if layer.get('mode') == 'replace' else 'added to'} "
        told += str(layer["parent"])
    return told + (f", {layer['created']}" if layer.get("created") else "")


def show(
    dataset: Dataset,
    key: str | int | None = None,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    max_size: int | None = None,
) -> Image:
    """Draw a sample with its annotations; a region tree as its cuts at several granularities.

    Args:
        dataset: where from; its current layer is drawn.
        key: key, row, or file name of the sample (default: the first one with annotations).
        output: PNG to write.
        overwrite: replace it.
        max_size: longest side of the picture, in pixels.
    """
    from granum.browse.draw import draw

    sample = dataset[_find(dataset, key)]
    picture = _sheet(dataset, sample, max_size) if _is_tree(sample.annotations) else None
    if picture is None:
        picture = draw(
            sample.image(),
            sample.row,
            sample.categories,
            load_map=sample.draw_map,
            max_size=max_size,
        )
    if output is not None:
        target = Path(output)
        if target.exists() and not overwrite:
            raise ExistsError(f"{target} exists; --overwrite replaces it")
        picture.save(target)
    return picture


def _is_tree(annotations: Sequence[Annotation]) -> bool:
    """Whether they are a tree of regions: a whole map that others stand on, or masks with a
    granularity, most of them without a category (hundreds, one upon the other)."""
    objects = [a for a in annotations if a.kind == "object"]
    roots = [a for a in objects if a.granularity is not None and a.parent is None]
    if any(a.map is not None and a.map.value is None for a in roots):
        return True
    unnamed = sum(a.category is None for a in objects)
    return all(a.granularity is not None for a in objects) and 2 * unnamed > len(objects)


def _sheet(dataset: Dataset, sample: SampleView, max_size: int | None) -> Image | None:
    """None where the rows are no tree any more: people have edited them."""
    from granum.annotate.sheet import granularity_sheet
    from granum.annotate.storing import tree_of

    try:
        tree = tree_of(dataset, sample.index)
    except GranumError:
        return None
    if tree is None:
        return None
    sheet = granularity_sheet(np.asarray(sample.image().convert("RGB")), tree)
    if max_size is not None:
        sheet.thumbnail((max_size, max_size))
    return sheet


def _find(dataset: Dataset, key: str | int | None) -> int | str:
    if key is None:
        for part in dataset.parts:
            counts = np.diff(part.offsets(dataset.meta.layer))
            if counts.any():
                return int(part.start + np.flatnonzero(counts)[0])
        return 0
    if isinstance(key, int):
        return key
    keys = dataset.samples(["key"])["key"].to_pylist()
    if key in keys:
        return key
    named = [k for k in keys if k.rpartition("/")[2] == key]
    if len(named) == 1:
        return str(named[0])
    if not named and key.isdecimal() and int(key) < len(keys):
        return int(key)
    raise UnknownNameError("sample", key, named or keys[:10])


def describe_formats(only: str | None = None) -> list[dict[str, Any]]:
    """What is known of each format: what it does and keeps, its options, how it was checked, and
    the text of its module (the tree, coordinates, traps).

    Raises:
        UnknownNameError: there is no format ``only``.
    """
    out = []
    for name in formats if only is None else [only]:
        format_ = formats[name]
        out.append(
            {
                "name": name,
                "title": format_.title or name,
                "reads": format_.reads(),
                "writes": format_.writes(),
                "keeps": sorted(format_.keeps),
                "tolerance": dict(format_.tolerance),
                "checked": format_.checked,
                "extra": format_.extra,
                "read_options": sorted(options_of(format_.read)),
                "write_options": sorted(options_of(format_.write)),
                "spec": format_.spec,
                "text": inspect.cleandoc(import_module(format_.__module__).__doc__ or ""),
            }
        )
    return out


def moved_by(tolerance: float) -> str:
    """A tolerance for people; infinite is that of masks that are painted anew."""
    if tolerance == float("inf"):
        return "in another file or form, pixel for pixel"
    return f"by at most {tolerance:g}"


def gc(
    path: str | Path, *, keep: int | None = None, older_than: float = 3600.0, dry_run: bool = False
) -> list[str]:
    """Remove files of a store that no manifest names; returns their names (see ``Store.gc``)."""
    return Store.open(path).gc(keep=keep, older_than=older_than, dry_run=dry_run)
