"""FiftyOne, both ways: a dataset to look at and to correct, and what was done to it there.

Coordinates in FiftyOne are fractions of width and height, ``xywh``. See
https://docs.voxel51.com/user_guide/using_datasets.html for its label types.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granum.browse._fiftyone_export import Sender
from granum.browse._fiftyone_package import database, fiftyone
from granum.browse._fiftyone_plan import survey
from granum.browse._fiftyone_read import Reader
from granum.browse._fiftyone_samples import Embedded
from granum.browse._fiftyone_write import Changes, Returned, write_back
from granum.errors import ExistsError, UnknownNameError, UsageError
from granum.schema.losses import LossReport
from granum.store.dataset import Dataset

__all__ = ["Changes", "Exported", "Returned", "from_fiftyone", "to_fiftyone"]

_POLYGONS = ("both", "masks", "polylines")


@dataclass(frozen=True, slots=True)
class Exported:
    """A dataset in FiftyOne, and the account of what is in it.

    Attributes:
        dataset: the ``fiftyone.Dataset``.
        report: kept, changed and lost values by kind and column.
    """

    dataset: Any
    report: LossReport


def to_fiftyone(
    dataset: Dataset,
    name: str | None = None,
    *,
    layers: Sequence[str] | None = None,
    persistent: bool = False,
    overwrite: bool = False,
    columns: Sequence[str] | None = None,
    polygons: str = "both",
    embed_root: str | Path | None = None,
) -> Exported:
    """Put a dataset into FiftyOne's database, by bulk insertion.

    Fields are named by layer: ``truth`` has boxes and masks (``Detections``), ``truth_polygons``,
    ``truth_polylines``, ``truth_keypoints``, ``truth_label`` (one per sample) or ``truth_labels``
    (several), ``truth_absent`` (labels verified to be absent), ``truth_captions``, ``truth_map``
    (whole label images), ``truth_heat_NAME``; a label space other than objects adds its name.
    Splits are tags. Every label has ``granum_id``, every sample ``granum_key``, by which
    :func:`from_fiftyone` finds them again. A relation is a text on the label of its subject.
    Samples of groups have the fields ``group``, ``role`` and ``order``, and the saved view
    ``groups`` keeps them together. Images stay where they are.

    Args:
        dataset: its samples need images in files, or ``embed_root``.
        name: of the dataset in FiftyOne (default: the store's, or FiftyOne's choice).
        layers: which layers (default: all).
        persistent: keep it when FiftyOne's database stops.
        overwrite: replace a FiftyOne dataset of this name.
        columns: derived columns (``col.*``) of samples to show (default: all that hold single
            values); vectors are shown where they are named.
        polygons: as ``masks`` of detections (drawn as pycocotools does, cropped to the box), as
            ``polylines`` (exact), or ``both`` (the App then hides the outlines at first).
        embed_root: folder for files of embedded images and of label images that FiftyOne could
            not read; it must last as long as the dataset.

    Returns:
        The FiftyOne dataset, and the account of what it holds.

    Raises:
        MissingExtraError: FiftyOne is not installed.
        ExistsError: FiftyOne has a dataset of this name.
        SizeUnknownError: the size of an image is neither stored nor readable.
        UsageError: an image is embedded and ``embed_root`` is not given.
        UnknownNameError: a layer or column that is not there.
    """
    if polygons not in _POLYGONS:
        raise UsageError(f"polygons is {polygons!r}; it must be one of {', '.join(_POLYGONS)}")
    for layer in layers or ():
        if layer not in dataset.meta.layers:
            raise UnknownNameError("layer", layer, dataset.meta.layers)
    package = database()
    name = name or _default_name(package, dataset)
    if package.dataset_exists(name) and not overwrite:
        raise ExistsError(f"FiftyOne has a dataset {name!r}; overwrite=True replaces it")
    plan = survey(
        dataset,
        list(layers or dataset.meta.layers),
        polygons=polygons,
        columns=columns,
        sample_names=dir(package.Sample),
        label_names=[n for c in _label_classes(package) for n in dir(c)],
    )
    draft = package.Dataset(f"{name}-{secrets.token_hex(4)}")
    try:
        report = Sender(package, dataset, plan, Embedded(embed_root)).send(draft)
        if package.dataset_exists(name):
            package.delete_dataset(name)
        draft.name = name
        draft.persistent = persistent
    except BaseException:
        draft.delete()
        raise
    return Exported(draft, report)


def from_fiftyone(source: Any, dataset: Dataset, *, layer: str = "fiftyone") -> Returned:
    """Take back what was done to a dataset in FiftyOne.

    - Labels that were edited, added or deleted: a new layer that replaces the one that was sent.
      Unchanged rows are as they were, bit for bit; of a changed label only what differs is taken
      (a box that moved takes its mask along). Edits of further layers go to ``LAYER_theirs``.
    - Label fields made in FiftyOne, such as predictions: a layer of the field's name.
    - Tags of samples: a view per tag; tags of labels: a view of those annotations. Splits, which
      were sent as tags, count only where their samples differ.
    - ``source``, where it is a view, or samples were removed: a view of its samples in its order,
      and of the labels that its filters leave; named as the saved view, else as the layer.

    Label images, heat maps and relations do not come back.

    Args:
        source: a FiftyOne dataset that :func:`to_fiftyone` made, or a view of it.
        dataset: the store it was made of (all of it, though a part may have been sent).
        layer: name of the new layer.

    Returns:
        The store, opened anew, and counts of what came back and of what did not.

    Raises:
        MissingExtraError: FiftyOne is not installed.
        UsageError: ``source`` was not made by ``to_fiftyone``, or is a view of patches.
        ConflictError: the store has a layer of that name; nothing is written.
        StoreError: ``dataset`` is a selection, or in memory only.
    """
    reader = Reader(fiftyone(), source, dataset)
    return write_back(reader, reader.read(), layer)


def _label_classes(package: Any) -> list[Any]:
    names = ("Detection", "Polyline", "Keypoint", "Classification", "Segmentation", "Heatmap")
    return [getattr(package, n) for n in names]


def _default_name(package: Any, dataset: Dataset) -> str:
    store = dataset.meta.store
    name = "granum" if store is None else store.path.name.removesuffix(".granum")
    number, free = 2, name
    while package.dataset_exists(free):
        free, number = f"{name}-{number}", number + 1
    return free
