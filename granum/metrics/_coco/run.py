"""The compiled evaluator (hotcoco) run on arrays, and its numbers as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import MissingExtraError
from granum.metrics._coco.columns import Compared
from granum.metrics._coco.masks import mask_areas, mask_dicts, no_collection, segmentations
from granum.metrics._coco.sides import Sides

__all__ = [
    "Accumulated",
    "Images",
    "Settings",
    "accumulated",
    "hotcoco",
    "mean",
    "official_order",
    "summary",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def hotcoco() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import hotcoco as package
    except ImportError as error:
        raise MissingExtraError("COCO evaluation", "eval", "hotcoco") from error
    return package


@dataclass(frozen=True)
class Settings:
    """What an evaluation varies: official where None."""

    compared: Compared
    max_detections: tuple[int, ...]
    iou_thresholds: tuple[float, ...] | None
    sigmas: tuple[float, ...] | None

    @property
    def areas(self) -> tuple[str, ...]:
        """Names of the ranges of areas, the first of all."""
        return ("", "m", "l") if self.compared == "keypoints" else ("", "s", "m", "l")


@dataclass(frozen=True)
class Images:
    """Ids of images and categories by row: they decide the order in which ties are broken."""

    image_ids: Ints
    category_ids: Ints
    width: Ints
    height: Ints


def official_order(source_ids: pa.Array | pa.ChunkedArray) -> Ints:
    """Ids from 1 by row, in the order of the source's own ids where all are different integers,
    else in the order of the rows. Official code sorts images and categories by id; equal scores of
    different images are settled by it."""
    n = len(source_ids)
    ids = np.arange(1, n + 1)
    try:
        values = np.asarray(source_ids.cast(pa.int64()))
    except pa.ArrowInvalid:
        return ids
    if not source_ids.null_count and len(np.unique(values)) == n:
        ids[np.argsort(values, kind="stable")] = np.arange(1, n + 1)
    return ids


@dataclass(frozen=True)
class Accumulated:
    """Arrays of the evaluator: -1 where undefined.

    Attributes:
        precision, scores: by IoU threshold, recall, category id, area range, limit.
        recall: by IoU threshold, category id, area range, limit.
        settings, thresholds, recalls: what the axes are.
        deviations: how the settings deviate from the official ones.
    """

    precision: Floats
    scores: Floats
    recall: Floats
    settings: Settings
    thresholds: Floats
    recalls: Floats
    deviations: list[str]

    def values(self) -> dict[str, float | None]:
        """The official summary: 12 numbers of boxes and masks, 10 of keypoints."""
        ranges = range(self.precision.shape[3])
        precision = [self.precision[..., i, -1] for i in ranges]
        recall = [np.moveaxis(self.recall[:, :, i], -1, 0) for i in ranges]
        return summary(self.settings, self.thresholds, precision, recall)

    def per_class(self, images: Images, names: Sequence[str], sides: Sides) -> pa.Table:
        """Of each category its rows, AP, AP50, AP75 and AR; null where undefined."""
        at = images.category_ids - 1
        whole, found = self.precision[:, :, at, 0, -1], self.recall[:, at, 0, -1]
        true = sides.truth.category[~sides.truth.crowd]
        columns = {
            "category": pa.array(names, pa.string()),
            "truths": np.bincount(true, minlength=len(names)),
            "predictions": sum(
                (np.bincount(s.category, minlength=len(names)) for s in sides.found),
                np.zeros(len(names), np.int64),
            ),
            "AP": _means(whole, (0, 1)),
        }
        for name, iou in (("AP50", 0.5), ("AP75", 0.75)):
            columns[name] = _means(whole[np.isclose(self.thresholds, iou)], (0, 1))
        return pa.table({**columns, "AR": _means(found, (0,))})

    def curves(self, images: Images, names: Sequence[str]) -> pa.Table:
        """``category, iou, recall, precision, score`` of the categories that have truth."""
        at = images.category_ids - 1
        precision = np.moveaxis(self.precision[:, :, at, 0, -1], 2, 0)
        scores = np.moveaxis(self.scores[:, :, at, 0, -1], 2, 0)
        rows = np.flatnonzero((precision > -1).any(axis=(1, 2)))
        each, points = len(rows), len(self.recalls)
        category = np.repeat(np.arange(each, dtype=np.int32), len(self.thresholds) * points)
        listed = pa.array([names[i] for i in rows.tolist()], pa.string())
        return pa.table(
            {
                "category": pa.DictionaryArray.from_arrays(pa.array(category), listed),
                "iou": np.tile(np.repeat(self.thresholds, points), each),
                "recall": np.tile(self.recalls, len(self.thresholds) * each),
                "precision": precision[rows].ravel(),
                "score": scores[rows].ravel(),
            }
        )


def summary(
    settings: Settings,
    thresholds: Floats,
    precision: Sequence[Floats],
    recall: Sequence[Floats],
) -> dict[str, float | None]:
    """The official numbers, each the mean of what is defined (above -1).

    Args:
        settings: of the evaluation.
        thresholds: shape (t,), of the overlap.
        precision: of each range of areas, shape (t, recalls, categories).
        recall: of each range of areas, shape (limits, t, categories).
    """
    points = settings.compared == "keypoints"
    ranges = settings.areas[1:]
    whole, found = precision[0], recall[0][-1]

    def at(name: str, values: Floats) -> dict[str, float | None]:
        chosen = {f"{name}{round(100 * iou)}": iou for iou in (0.5, 0.75)}
        return {n: mean(values[np.isclose(thresholds, t)]) for n, t in chosen.items()}

    out = {"AP": mean(whole), **at("AP", whole)}
    for name, values in zip(ranges, precision[1:], strict=True):
        out[f"AP{name}"] = mean(values)
    if points:
        out |= {"AR": mean(found), **at("AR", found)}
    else:
        for i, limit in enumerate(settings.max_detections):
            out[f"AR{limit}"] = mean(recall[0][i])
    for name, values in zip(ranges, recall[1:], strict=True):
        out[f"AR{name}"] = mean(values[-1])
    return out


def accumulated(sides: Sides, images: Images, settings: Settings) -> Accumulated:
    """Matched and accumulated by the compiled evaluator."""
    made = _from_dicts if settings.compared == "keypoints" else _from_arrays
    with no_collection():  # of the many objects that live until they are handed over
        both = made(sides, images)
    evaluation = hotcoco().COCOeval(*both, settings.compared)
    params = evaluation.params
    params.max_dets = list(settings.max_detections)
    if settings.iou_thresholds is not None:
        params.iou_thrs = list(settings.iou_thresholds)
    if settings.sigmas is not None:
        params.kpt_oks_sigmas = list(settings.sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    arrays = evaluation.eval
    return Accumulated(
        precision=np.asarray(arrays["precision"]),
        scores=np.asarray(arrays["scores"]),
        recall=np.asarray(arrays["recall"]),
        settings=settings,
        thresholds=np.asarray(params.iou_thrs),
        recalls=np.asarray(params.rec_thrs),
        deviations=list(evaluation.reference_deviations()),
    )


def _described(images: Images) -> tuple[list[dict[str, int]], list[dict[str, Any]]]:
    rows = zip(
        images.image_ids.tolist(), images.width.tolist(), images.height.tolist(), strict=True
    )
    listed = [{"id": i, "width": w, "height": h} for i, w, h in rows]
    return listed, [{"id": i, "name": str(i)} for i in images.category_ids.tolist()]


def _from_arrays(sides: Sides, images: Images) -> tuple[Any, Any]:
    truth = sides.truth
    listed, categories = _described(images)
    true = hotcoco().COCO.from_arrays(
        listed,
        categories,
        images.image_ids[truth.sample],
        images.category_ids[truth.category],
        truth.box,
        area=truth.area,
        iscrowd=truth.crowd,
        **({} if truth.outline is None else {"segmentation": segmentations(truth.outline)}),
    )
    rows = np.empty((sum(map(len, sides.found)), 7))
    first = 0
    for part in sides.found:
        to = rows[first : first + len(part)]
        first += len(part)
        to[:, 0] = images.image_ids[part.sample]
        to[:, 1:5] = part.box
        to[:, 5] = part.score
        to[:, 6] = images.category_ids[part.category]
    if truth.outline is None:
        return true, true.load_res(rows)
    drawn = [part.outline.rle for part in sides.found if part.outline is not None]
    masks = [mask for rle in drawn for mask in mask_dicts(rle)]
    found = true.load_res(rows, segmentation=masks)
    # The package takes the boxes' areas; a file of masks has no boxes, and their pixels count.
    found.update_anns(ids=np.arange(1, len(rows) + 1), area=mask_areas(masks))
    return true, found


def _from_dicts(sides: Sides, images: Images) -> tuple[Any, Any]:
    """Keypoints: the package takes them in dictionaries only."""
    truth, predictions = sides.truth, sides.predictions
    listed, categories = _described(images)
    shown = (truth.keypoints[..., 2] > 0).sum(axis=1)
    width = 3 * truth.keypoints.shape[1]
    annotations = [
        {
            "id": i + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "keypoints": points,
            "num_keypoints": n,
        }
        for i, (image, category, box, area, crowd, points, n) in enumerate(
            zip(
                images.image_ids[truth.sample].tolist(),
                images.category_ids[truth.category].tolist(),
                truth.box.tolist(),
                truth.area.tolist(),
                truth.crowd.tolist(),
                truth.keypoints.reshape(len(truth), width).tolist(),
                shown.tolist(),
                strict=True,
            )
        )
    ]
    true = hotcoco().COCO({"images": listed, "categories": categories, "annotations": annotations})
    found = [
        {"image_id": image, "category_id": category, "keypoints": points, "score": score}
        for image, category, points, score in zip(
            images.image_ids[predictions.sample].tolist(),
            images.category_ids[predictions.category].tolist(),
            predictions.keypoints.reshape(len(predictions), width).tolist(),
            predictions.score.tolist(),
            strict=True,
        )
    ]
    return true, true.load_res(found)


def mean(values: Floats) -> float | None:
    """The mean of what is defined (above -1), as official summaries take it."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def _means(values: Floats, axes: tuple[int, ...]) -> pa.Array:
    """Means of the defined values over ``axes``; null where none is."""
    known = values > -1
    count = known.sum(axis=axes)
    total = np.where(known, values, 0).sum(axis=axes)
    return pa.array(total / np.maximum(count, 1), mask=count == 0)
