"""BraTS: brain tumours in volumes of four modalities, whose labels are nested regions.

Trees read::

    HGG/CASE/CASE_{flair,t1,t1ce,t2,seg}.nii.gz         challenges up to 2020
    CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz              from 2023 on
    imagesTr/BRATS_001.nii.gz  labelsTr/…  imagesTs/…   Medical Segmentation Decathlon, task 1: the
    dataset.json                                        modalities are a fourth axis
    val_ids.p  val_brain_bbox.p  labels                 cropped arrays
    ID_data_cropped.npy  ID_label_cropped.npy

A case is a group of kind ``series``; its samples are the modalities, with the roles ``t1``,
``t1c``, ``t2``, ``flair`` (media kind ``volume``; ``depth`` is the number of slices; attributes:
``spacing`` in millimetres and ``affine``). Where one file holds all of them, each is a sample of
that file and the attribute ``channel`` says which; names come from ``dataset.json`` or
``modalities``, and where neither tells them, the file is one sample without a role. The label
volume hangs on the case (no sample): one object, a whole map of class numbers.

Axes: width, height, depth are the first, second and third axis of a NIfTI file. The cropped arrays
do not say what is x; they are taken as (1, channel, depth, height, width).

Categories are the regions WT (whole tumour) > TC (tumour core) > ET (enhancing) and the remaining
parts NCR (necrotic and non-enhancing; of TC) and ED (oedema; of WT), by ``part_of``. ``source_id``
of ET, NCR and ED is their number in the maps; a region is what is part of it. ``nested`` makes the
masks.

*Traps.* The numbers differ: ``numbering=2018`` is NCR 1, ED 2, ET 4; ``2023`` NCR 1, ED 2, ET 3;
``msd`` ED 1, NCR 2, ET 3. Unless ``dataset.json`` or ``labels`` names the classes, it must be
given; it is recorded with the source. ``open_media`` reads all label volumes and reports numbers
that the numbering does not have.

Spec: https://www.med.upenn.edu/cbica/brats/ , http://medicaldecathlon.com
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, UsageError
from granum.loaders._brats_trees import Case, Volume, cases_of, told_names, tree_of, values_of
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["NUMBERINGS", "Brats", "nested"]

NUMBERINGS: dict[str, dict[str, int]] = {
    "2018": {"NCR": 1, "ED": 2, "ET": 4},
    "2023": {"NCR": 1, "ED": 2, "ET": 3},
    "msd": {"ED": 1, "NCR": 2, "ET": 3},
}
PARTS = {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)}
"""The numbered classes that each region is the union of."""

_CATEGORIES = (
    ("WT", "whole tumor", None),
    ("TC", "tumor core", 0),
    ("ET", "enhancing tumor", 1),
    ("NCR", "necrotic and non-enhancing tumor core", 1),
    ("ED", "peritumoral edema", 0),
)


def nested(
    values: npt.NDArray[Any], numbering: Mapping[str, int]
) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks of WT, TC and ET, each of which holds the next, from class numbers of any shape.

    Args:
        values: of a label volume.
        numbering: the number of NCR, ED and ET (one of ``NUMBERINGS``).
    """
    return {
        region: np.isin(values, [numbering[p] for p in parts]) for region, parts in PARTS.items()
    }


@formats("brats")
class Brats(Format):
    """See the module."""

    name = "brats"
    title = "BraTS (volumes of four modalities, nested regions)"
    spec = "https://www.med.upenn.edu/cbica/brats/"
    keeps = frozenset(
        {"object", "mask", "category", "group", "split", "attributes", "parents", "synonyms"}
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        found = tree_of(root)
        return None if found is None else f"{found[1]}: {found[0]}"

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        numbering: Literal["2018", "2023", "msd"] | None = None,
        modalities: str | None = None,
        open_media: bool = False,
    ) -> Iterator[rows.Sample]:
        """Read a tree.

        Args:
            root: the folder.
            intake: gets cases, regions and faults.
            numbering: what the numbers of label volumes mean.
            modalities: names of the fourth axis, with commas between them.
            open_media: read label volumes and look at their numbers.

        Raises:
            FormatError: there is no such tree.
            UsageError: there are labels, and nothing says what their numbers mean.
        """
        kind = tree_of(root)
        if kind is None:
            raise FormatError(root, "no cases of BraTS")
        intake.media_root = root
        cases = list(cases_of(root, kind[0], _names(modalities), intake))
        options: dict[str, Any] = {"modalities": modalities} if modalities else {}
        numbers = None
        if any(c.label is not None for c in cases):
            numbers, by = _numbering(root, numbering, intake)
            options |= {"numbering": numbers, "numbering_by": by}
        intake.source(".", self.name, options=options or None)
        for name, meaning, parent in _CATEGORIES:
            number = (numbers or {}).get(name)
            parents = None if parent is None else [{"index": parent, "relation": "part_of"}]
            source_id = None if number is None else str(number)
            about = {"source_id": source_id, "parents": parents, "synonyms": [meaning]}
            intake.add_category(rows.Category(name, **about))  # type: ignore[arg-type]
        for case in cases:
            yield from _case(root, case, intake, numbers if open_media else None)


def _names(modalities: str | None) -> list[str] | None:
    if modalities is None:
        return None
    found = [n.strip() for n in modalities.split(",")]
    if not all(found) or len({*found}) < len(found):
        raise UsageError(f"names of modalities with commas between them, not {modalities!r}")
    return found


def _numbering(root: Path, asked: str | None, intake: Intake) -> tuple[dict[str, int], str]:
    """What the numbers mean, and what says so."""
    told = told_names(root)
    found = None if told is None else _by_names(told[1])
    if asked is not None:
        numbers = NUMBERINGS[asked]
        if found not in (None, numbers) and told is not None:
            message = f"its classes are numbered {found}, not as asked ({asked}: {numbers})"
            intake.fault("conflicting-records", told[0], None, message)
        return numbers, "numbering"
    if found is None or told is None:
        raise UsageError(
            f"the label numbers of {root} mean different things in different years: --numbering "
            f"{'|'.join(NUMBERINGS)} (2018: ET is 4; 2023: ET is 3; msd: edema is 1)"
        )
    return found, told[0]


def _by_names(names: Mapping[int, str]) -> dict[str, int] | None:
    """The numbers of NCR, ED and ET by their names; None where one of them is not named."""
    found: dict[str, int] = {}
    for number, name in names.items():
        lower = name.lower()
        if "edema" in lower:
            found.setdefault("ED", number)
        elif "non-enhancing" in lower or "nonenhancing" in lower or "necro" in lower:
            found.setdefault("NCR", number)
        elif "enhancing" in lower:
            found.setdefault("ET", number)
    return {n: found[n] for n in ("NCR", "ED", "ET")} if len(found) == 3 else None


def _case(
    root: Path, case: Case, intake: Intake, numbers: Mapping[str, int] | None
) -> Iterator[rows.Sample]:
    about = {k: v for k, v in (("grade", case.grade), ("brain_bbox", case.box)) if v is not None}
    intake.groups.append(
        rows.Group(case.key, "series", source_id=case.name, attributes=about or None)
    )
    group = len(intake.groups) - 1
    stated: tuple[int, ...] | None = None
    for order, volume in enumerate(case.volumes):
        sample = _sample(volume, case, group, order if len(case.volumes) > 1 else None)
        if volume.shape is not None:
            stated = stated or volume.shape
            if volume.shape != stated:
                message = f"is {_by(volume.shape)}, other volumes of the case are {_by(stated)}"
                intake.fault("size-mismatch", volume.path, None, message)
        yield sample
    if case.label is None:
        return
    if case.label.shape is not None and stated is not None and case.label.shape != stated:
        message = f"is {_by(case.label.shape)}, its images are {_by(stated)}"
        intake.fault("mask-size-mismatch", case.label.path, None, message)
    if numbers is None or _numbers_known(root, case.label.path, numbers, intake):
        whole = rows.LabelMap(case.label.path, encoding="index", space="object")
        intake.group_annotations.append(rows.Annotation("object", map=whole, group=group))


def _sample(volume: Volume, case: Case, group: int, order: int | None) -> rows.Sample:
    width, height, depth = volume.shape or (None, None, None)
    return rows.Sample(
        volume.path if volume.channel is None else f"{volume.path}#{volume.role}",
        rows.Media(volume.path),
        width=width,
        height=height,
        depth=depth,
        channels=volume.channels,
        media_kind="volume",
        split=case.split,
        group=group,
        role=volume.role,
        order=order,
        attributes=volume.facts(),
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _numbers_known(root: Path, path: str, numbers: Mapping[str, int], intake: Intake) -> bool:
    """Whether a label volume is to be kept: unknown numbers are reported."""
    try:
        found = np.unique(values_of(root / path))
    except FormatError as error:
        intake.fault("broken-media", path, error.place, error.reason)
        return True
    unknown = [v for v in found.tolist() if v not in (0, *numbers.values())]
    if not unknown:
        if found.tolist() == [0]:
            intake.fault("empty-mask", path, None, "every value is 0")
        return True
    listed = ", ".join(f"{v:g}" for v in unknown[:5])
    intake.fault("unknown-class", path, None, f"the numbering {dict(numbers)} has no {listed}")
    if intake.on_error == "fix":
        known = {c.source_id for c in intake.categories}
        for value in unknown:
            if f"{value:g}" not in known and float(value).is_integer():
                intake.add_category(rows.Category(f"{value:g}", source_id=f"{value:g}"))
    return intake.on_error != "skip"
