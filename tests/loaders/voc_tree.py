"""A VOC tree typed by hand after the devkit's documentation, and helpers for VOC trees."""

from __future__ import annotations

import io
import xml.etree.ElementTree as Tree
from pathlib import Path

import numpy as np
from PIL import Image

import granum
from granum.loaders._voc_classes import COLOURS
from granum.schema.rows import Category, Sample
from granum.store.dataset import Dataset
from granum.testing.same import assert_same

PERSON = """\
<annotation>
	<folder>VOC2012</folder>
	<filename>2008_000008.jpg</filename>
	<source>
		<database>The VOC2008 Database</database>
		<annotation>PASCAL VOC2008</annotation>
		<image>flickr</image>
	</source>
	<owner>
		<flickrid>somebody</flickrid>
	</owner>
	<size>
		<width>500</width>
		<height>442</height>
		<depth>3</depth>
	</size>
	<segmented>1</segmented>
	<object>
		<name>horse</name>
		<pose>Left</pose>
		<truncated>0</truncated>
		<occluded>1</occluded>
		<bndbox>
			<xmin>53</xmin>
			<ymin>87</ymin>
			<xmax>471</xmax>
			<ymax>420</ymax>
		</bndbox>
		<difficult>0</difficult>
	</object>
	<object>
		<name>person</name>
		<pose>Unspecified</pose>
		<truncated>1</truncated>
		<difficult>1</difficult>
		<bndbox>
			<xmax>289.5</xmax>
			<xmin>158.25</xmin>
			<ymax>167</ymax>
			<ymin>44</ymin>
		</bndbox>
		<part>
			<name>head</name>
			<bndbox>
				<xmin>169</xmin>
				<ymin>44</ymin>
				<xmax>196</xmax>
				<ymax>81</ymax>
			</bndbox>
		</part>
		<part>
			<name>hand</name>
			<bndbox>
				<xmin>200</xmin>
				<ymin>120</ymin>
				<xmax>212</xmax>
				<ymax>131</ymax>
			</bndbox>
		</part>
		<actions>
			<ridinghorse>1</ridinghorse>
			<walking>0</walking>
		</actions>
		<point>
			<x>220</x>
			<y>100</y>
		</point>
		<confidence>0.5</confidence>
	</object>
</annotation>
"""

EMPTY = """\
<annotation>
	<filename>2008_000015.jpg</filename>
	<size><width>327</width><height>500</height><depth>3</depth></size>
</annotation>
"""

GOLDEN = {
    "Annotations/2008_000008.xml": PERSON,
    "Annotations/2008_000015.xml": EMPTY,
    "ImageSets/Main/train.txt": "2008_000008\n",
    "ImageSets/Main/val.txt": "2008_000015\n",
    "ImageSets/Main/trainval.txt": "2008_000008\n2008_000015\n",
    "ImageSets/Main/horse_train.txt": "2008_000008  1\n",
    "ImageSets/Main/horse_val.txt": "2008_000015 -1\n",
    "ImageSets/Main/horse_trainval.txt": "2008_000008  1\n2008_000015 -1\n",
    "ImageSets/Main/person_train.txt": "2008_000008  0\n",
    "ImageSets/Layout/train.txt": "2008_000008 2\n",
    "ImageSets/Action/train.txt": "2008_000008  2\n",
    "ImageSets/Action/ridinghorse_train.txt": "2008_000008  2  1\n",
}


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write ``files`` below ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def box(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    """A ``bndbox`` on one line."""
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (xmin, ymin, xmax, ymax), strict=True)
    return "<bndbox>" + "".join(f"<{n}>{v}</{n}>" for n, v in corners) + "</bndbox>"


def label(filename: str | None, *objects: str, size: str | None = "100 80") -> str:
    """An annotation file, one object on a line, from line 3."""
    width, height = (size or "0 0").split()
    inside = f"<width>{width}</width><height>{height}</height>" if size else ""
    named = "" if filename is None else f"<filename>{filename}</filename>"
    body = "".join(f"<object>{o}</object>\n" for o in objects)
    return f"<annotation>{named}\n<size>{inside}</size>\n{body}</annotation>\n"


def png(values, mode="P") -> bytes:
    array = np.asarray(values, np.uint8)
    out = io.BytesIO()
    if mode == "RGB":
        image = Image.fromarray(np.asarray(COLOURS, np.uint8)[array])
    else:
        image = Image.fromarray(array, mode="P")
        image.putpalette([c for colour in COLOURS for c in colour])
    image.save(out, "PNG")
    return out.getvalue()


INSTANCES = [[0, 1, 1, 255], [2, 2, 0, 0], [2, 0, 0, 0]]
CLASSES = [[0, 15, 15, 255], [1, 1, 0, 0], [1, 0, 0, 0]]
TWO = (f"<name>person</name>{box(1, 0, 3, 1)}", f"<name>aeroplane</name>{box(0, 1, 2, 3)}")


def masked(instances, classes=CLASSES, mode="P", objects=TWO):
    return {
        "Annotations/a.xml": label("a.jpg", *objects, size="4 3"),
        "SegmentationObject/a.png": png(instances, mode),
        "SegmentationClass/a.png": png(classes, mode),
        "ImageSets/Segmentation/val.txt": "a\n",
    }


BOOKKEEPING = {"source_id", "origins", "ordinal", "media"}


def of(*samples, categories=("cat", "dog")) -> Dataset:
    listed = [c if isinstance(c, Category) else Category(c) for c in categories]
    return Dataset.from_rows(samples, listed)


def one(*annotations, key="a.jpg", categories=("cat", "dog"), **values) -> Dataset:
    size = {"width": 100, "height": 80, **values}
    return of(Sample(key, annotations=list(annotations), **size), categories=categories)


def again(dataset, folder, allow_loss=(), read=(), **options) -> Dataset:
    """Written, and read back."""
    granum.write(dataset, folder, "voc", allow_loss=allow_loss, **options)
    return granum.read(folder, "voc", **{**options, **dict(read)})


def kept(dataset, folder, **options) -> Dataset:
    back = again(dataset, folder, **options)
    assert_same(dataset, back, ignore=BOOKKEEPING, ordered=False)
    return back


def root_of(path: Path) -> Tree.Element:
    return Tree.parse(path).getroot()
