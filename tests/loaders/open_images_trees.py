"""Small Open Images trees typed by hand from the spec; reading and writing them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from granum.loaders.base import Intake
from granum.loaders.open_images import OpenImages
from granum.loaders.reading import read_into
from granum.loaders.writing import write_dataset
from granum.schema.findings import Findings
from granum.schema.losses import LossReport
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset

A, B, C = "0001eeaf4aed83f9", "000a1249af2bc5f0", "00f4c5b0a1d2e3f4"
CAT, DOG, PET, EAR, WOOD = "/m/01yrx", "/m/0bt9lr", "/m/068hy", "/m/039xj_", "/m/083vt"

IMAGES = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"
    "OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n"
)
BOXES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside"
)
CLICKS = ",XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"
LABELS = "ImageID,Source,LabelName,Confidence\n"
MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
RELATIONS = (
    "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,"
    "RelationshipLabel\n"
)
POINTS = "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel\n"


def png(rows: list[str]) -> bytes:
    """A mask: ``#`` is the object."""
    pixels = np.array([[c == "#" for c in row] for row in rows])
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


NARRATIVE = (
    f'{{"dataset_id": "open_images_train", "image_id": "{A}", "annotator_id": 93, '
    '"caption": "A cat.", "timed_caption": [{"utterance": "A cat.", "start_time": 0.5, '
    '"end_time": 1.25}], "traces": [[{"x": -0.01, "y": 0.5, "t": 0.1}]], '
    '"voice_recording": "open_images_train/1.ogg"}\n'
)
MASK_A = f"{A}_m01yrx_1a2b3c4d.png"

TREE: dict[str, str | bytes] = {
    "annotations/train-images-boxable-with-rotation.csv": IMAGES
    + f'{A},train,https://x/1.jpg,https://x/1,CC-BY,https://x/p,"Doe, J.","A ""cat""\nat home",'
    "262144,UpNL+YU5QgLkXBpNrvEl1w==,https://x/t.jpg,0.0\n" + f"{B},train,,,,,,,,,,\n",
    "annotations/validation-images-with-rotation.csv": IMAGES + f"{C},validation,,,,,,,,,,90.0\n",
    "annotations/oidv6-train-annotations-bbox.csv": BOXES
    + CLICKS
    + "\n"
    + f"{A},xclick,{CAT},1,0.1,0.3,0.2,0.7,1,0,-1,0,0,0.1,0.3,0.2,0.15,0.5,0.4,0.2,0.7\n"
    + f"{A},activemil,{DOG},1,0.5,0.9,0.25,0.75,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1\n"
    + f"{B},xclick,{DOG},1,0,0.999374,0.012500,1,0,1,1,1,1,0,0,0,0,0,0,0,0\n",
    "annotations/validation-annotations-bbox.csv": BOXES
    + "\n"
    + f"{C},xclick,{CAT},1,0.25,0.5,0.125,1,0,0,0,0,0\n"
    + f"{C},xclick,{CAT},1,0.25,0.5,0.125,1,1,0,0,0,0\n",
    "annotations/oidv6-train-annotations-human-imagelabels.csv": LABELS
    + f"{A},verification,{CAT},1\n{A},crowdsource-verification,{DOG},0\n",
    "annotations/oidv6-train-annotations-machine-imagelabels.csv": LABELS
    + f"{B},machine,{CAT},0.7\n{B},machine,{DOG},1\n",
    "annotations/train-annotations-object-segmentation.csv": MASKS
    + f"{MASK_A},{A},{CAT},1a2b3c4d,0.1,0.3,0.2,0.7,0.81,0.15 0.3 1;0.2 0.5 0\n"
    + f"{B}_m0bt9lr_ffffffff.png,{B},{DOG},ffffffff,0.1,0.2,0.1,0.2,,\n",
    f"masks/train/{MASK_A}": png(["....", ".##.", ".#.."]),
    "annotations/oidv6-train-annotations-vrd.csv": RELATIONS
    + f"{A},{CAT},{DOG},0.1,0.3,0.2,0.7,0.5,0.9,0.25,0.75,on\n"
    + f"{A},{DOG},{WOOD},0.5,0.9,0.25,0.75,0.5,0.9,0.25,0.75,is\n",
    "annotations/oidv6-validation-annotations-vrd.csv": RELATIONS
    + f"{C},{CAT},{DOG},0.25,0.5,0.125,1,0,0.5,0,0.5,at\n",
    "annotations/oidv7-val-annotations-point-labels.csv": POINTS
    + f"{C},0.5,0.25,{CAT},yes,cc,3,0,1,\n"
    + f"{C},0.125,1,{DOG},no,ih,0,2,0,\n"
    + f"{C},0,0,,unsure,cc,1,1,1,whiskers\n",
    "annotations/open_images_train_v6_localized_narratives-00000-of-00010.jsonl": NARRATIVE,
    "annotations/oidv6-class-descriptions.csv": "LabelName,DisplayName\n"
    + f'{CAT},Cat\n{DOG},"Dog, domestic"\n{PET},Pet\n{EAR},Ear\n',
    "annotations/oidv6-attributes-description.csv": f"LabelName,DisplayName\n{WOOD},Wooden\n",
    "annotations/bbox_labels_600_hierarchy.json": '{"LabelName": "/m/0bl9f", "Subcategory": ['
    f'{{"LabelName": "{PET}", "Subcategory": [{{"LabelName": "{CAT}", "Part": '
    f'[{{"LabelName": "{EAR}"}}]}}, {{"LabelName": "{DOG}", "Part": [{{"LabelName": "{EAR}"}}]}}'
    "]}]}",
}
"""All kinds of files, of V6 and V7."""


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def take(path: Path, on_error: str = "fail", **options: Any) -> tuple[Dataset, Intake]:
    """Read a tree; the intake has findings and sources."""
    intake = Intake(Findings(on_error))  # type: ignore[arg-type]
    return read_into(MemoryBuilder(), OpenImages(), path, intake, options=options), intake


def read(path: Path, on_error: str = "fail", **options: Any) -> Dataset:
    return take(path, on_error, **options)[0]


def write(dataset: Dataset, target: Path, **options: Any) -> LossReport:
    return write_dataset(dataset, target, "open_images", **options)


def places(intake: Intake) -> list[tuple[str, str, str | None]]:
    """Code, file and place of each finding."""
    return [(f.code, f.path, f.place) for f in intake.findings.items]


def rows_of(dataset: Dataset, key: str, kind: str) -> list[Any]:
    """The annotations of a kind of a sample."""
    return [a for a in dataset[key].annotations if a.kind == kind]


def name_of(dataset: Dataset, annotation: Any) -> str | None:
    """The name of an annotation's category."""
    if annotation.category is None:
        return None
    return str(dataset.categories["name"][annotation.category].as_py())
