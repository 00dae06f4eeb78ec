"""Findings: what is wrong in a source, where, and what was done about it.

A reader reports every fault it meets under a stable code; the policy (``on_error``) decides
what happens to the record. The table below is the one place that says, for each code, how
grave it is and what ``skip`` and ``fix`` do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["CODES", "Code", "Finding", "Findings", "OnError", "Severity"]

OnError = Literal["fail", "skip", "fix"]
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of fault: how grave it is, and what ``skip`` and ``fix`` do to the record."""

    severity: Severity
    meaning: str
    skip: str = "leaves the record out"
    fix: str = "leaves the record out"


KEPT = "keeps it as it is"

CODES: dict[str, Code] = {
    "area-mismatch": Code(
        "warning", "a stated area is not the mask's", KEPT, "takes the area of the mask"
    ),
    "bad-value": Code(
        "error", "a value of the wrong type or out of its range", fix="leaves the value out"
    ),
    "box-mismatch": Code("warning", "a stated box is not that of the mask", KEPT, KEPT),
    "box-outside-image": Code("warning", "a box reaches beyond its image", KEPT, "clips the box"),
    "broken-archive": Code(
        "error",
        "an archive or a file of records is damaged or cut off",
        "imports what stands before",
        "imports what stands before",
    ),
    "broken-media": Code("error", "a media file does not decode", KEPT, KEPT),
    "conflicting-records": Code(
        "warning", "two files tell different things of the same record", KEPT, KEPT
    ),
    "duplicate-annotation": Code(
        "error",
        "two annotations of a sample or group that has one",
        "keeps the first only",
        "keeps the first only",
    ),
    "duplicate-annotation-id": Code(
        "error",
        "two annotations have one id",
        "keeps the first only",
        "gives the later ones new ids",
    ),
    "duplicate-category-id": Code(
        "error", "two categories have one id", "keeps the first only", "keeps the first only"
    ),
    "duplicate-category-name": Code("warning", "two categories have one name", KEPT, KEPT),
    "duplicate-image-id": Code(
        "error",
        "two images have one id",
        "keeps the first only",
        "gives the later ones new ids; annotations stay with the first",
    ),
    "duplicate-json-key": Code(
        "error",
        "a JSON object has one key twice",
        "leaves the record out",
        "keeps the last value, as JSON readers do",
    ),
    "duplicate-key": Code(
        "error",
        "two samples have one key",
        "keeps the first only",
        "adds #2, #3… to the later keys",
    ),
    "duplicate-row": Code("warning", "a row of a label file stands there twice", KEPT, KEPT),
    "duplicate-segment-id": Code(
        "error",
        "two segments of an image have one id",
        "keeps the first only",
        "keeps the first only",
    ),
    "duplicate-track": Code("warning", "a track is twice in one frame", KEPT, KEPT),
    "empty-mask": Code("warning", "a mask without a pixel", KEPT, KEPT),
    "empty-raster": Code("warning", "a raster that holds zeros only", KEPT, KEPT),
    "file-missing": Code("error", "a media file is absent", KEPT, KEPT),
    "file-not-read": Code(
        "warning", "a file in the tree that this format does not read", KEPT, KEPT
    ),
    "frame-out-of-range": Code(
        "warning", "a frame beyond the stated length of its sequence", KEPT, KEPT
    ),
    "grey-mask": Code(
        "warning", "a mask has values between none and all, and no threshold is given", KEPT, KEPT
    ),
    "mask-size-mismatch": Code("error", "a mask image has another size than its image", KEPT, KEPT),
    "incomplete-group": Code("warning", "a pair or series lacks one of its images", KEPT, KEPT),
    "malformed-xml": Code("error", "an XML file that cannot be parsed"),
    "missing-annotation-id": Code("error", "an annotation has no id", fix="numbers it"),
    "missing-area": Code("warning", "an annotation has no area", KEPT, "takes it from mask or box"),
    "missing-categories": Code(
        "error",
        "annotations name categories, but the file lists none",
        fix="makes categories named by their ids",
    ),
    "missing-category": Code("error", "an annotation has no category"),
    "missing-geometry": Code(
        "error", "an annotation has nothing of the kind that a protocol compares"
    ),
    "missing-image": Code("warning", "a row is about an image that is not there", KEPT, KEPT),
    "missing-image-id": Code("error", "an annotation or image has no image id"),
    "missing-iscrowd": Code("warning", "an annotation has no iscrowd", KEPT, "sets it to 0"),
    "missing-key": Code("error", "a record lacks a key that it must have"),
    "missing-labels": Code("warning", "a listed image has no label file", KEPT, KEPT),
    "missing-mask": Code("warning", "a defect has no mask", KEPT, KEPT),
    "missing-order": Code("error", "a row whose sample has no place in a sequence"),
    "missing-score": Code("error", "a prediction has no score"),
    "missing-size": Code(
        "warning",
        "an image has no width or height",
        KEPT,
        "reads them from the media, where at hand",
    ),
    "missing-split": Code("warning", "a split names a folder or list that is absent", KEPT, KEPT),
    "missing-track": Code("error", "a box that belongs to no track"),
    "missing-video": Code("warning", "a listed video has no file", KEPT, KEPT),
    "nan-box": Code(
        "error",
        "a box holds NaN or infinity",
        fix="takes the box from the mask, or leaves the box out",
    ),
    "nan-score": Code("error", "the score of a prediction is NaN"),
    "nan-token": Code(
        "error", "NaN or Infinity, which JSON does not have", fix="leaves the value out"
    ),
    "negative-box": Code(
        "error", "a box has a negative width or height", fix="turns the box round"
    ),
    "no-predictions": Code("info", "a sample has no prediction at all", KEPT, KEPT),
    "no-truth": Code("info", "a sample has nothing true to compare with"),
    "not-compared": Code("info", "a row that is nothing a protocol compares"),
    "nothing-to-compare": Code(
        "error", "a layer has nothing that a protocol can compare", KEPT, KEPT
    ),
    "odd-polygon": Code(
        "error", "a polygon has an odd number of coordinates", fix="drops the last coordinate"
    ),
    "one-frame-tube": Code(
        "warning", "a tube of one frame, which the official overlap makes 0 or 0 / 0", KEPT, KEPT
    ),
    "orphan-box": Code("error", "a box of which there is no segment"),
    "orphan-category": Code(
        "error",
        "an annotation names a category that is not listed",
        fix="makes a category named by its id",
    ),
    "orphan-image": Code("error", "an annotation names an image that is not listed"),
    "orphan-mask": Code("error", "a mask of which there is no image"),
    "overlapping-masks": Code(
        "warning",
        "masks of one sample share pixels",
        "leaves them to the first one",
        "leaves them to the first one",
    ),
    "repeated-track": Code(
        "error", "a track is twice in a frame that is compared", "compares the first only"
    ),
    "rle-not-canonical": Code(
        "warning", "an RLE that does not re-encode to itself", KEPT, "writes it canonically"
    ),
    "rle-size-mismatch": Code(
        "error", "an RLE whose size or pixel count is not the image's", fix="leaves the mask out"
    ),
    "short-polygon": Code(
        "error", "a polygon of fewer than three points", fix="leaves the polygon out"
    ),
    "size-mismatch": Code(
        "error", "a media file has another size than stated", KEPT, "takes the size of the file"
    ),
    "string-id": Code("warning", "an id is a string where tools expect an integer", KEPT, KEPT),
    "track-gap": Code("warning", "a tube lacks frames between its first and its last", KEPT, KEPT),
    "truncated-json": Code(
        "error",
        "the JSON ends before it is complete",
        "imports what stands before",
        "imports what stands before",
    ),
    "undefined-number": Code(
        "warning", "a number that the data do not define (one class only, or nothing)", KEPT, KEPT
    ),
    "unknown-category": Code("error", "a prediction of a category that the truth does not have"),
    "unknown-class": Code(
        "error", "a class number or name that is not listed", fix="makes a category named by it"
    ),
    "unknown-shape": Code(
        "warning", "a kind of shape that is not read", "leaves it out", "leaves it out"
    ),
    "unknown-sample": Code("error", "a prediction on a sample that the truth does not have"),
    "unlisted-image": Code("warning", "an image in the tree that no list names", KEPT, KEPT),
    "unlisted-segment": Code("error", "pixels with an id that no segment has", KEPT, KEPT),
    "unmatched-box": Code(
        "warning",
        "a mask, or an end of a relation, names a box that is not there, or there several times",
        "makes a box for it",
        "makes a box for it",
    ),
    "unnamed-class": Code("warning", "a class id that no description names", KEPT, KEPT),
    "value-out-of-range": Code("error", "a normalised coordinate beyond 0..1", fix="clips it"),
    "zero-size-box": Code("warning", "a box without width or height", KEPT, KEPT),
}


_GRAVE: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(slots=True)
class Finding:
    """One fault. ``place`` is a JSON pointer, a line, or a byte offset."""

    code: str
    path: str
    place: str | None
    message: str
    severity: Severity
    action: str


@dataclass(slots=True)
class Findings:
    """All faults of one reading, counted by code; ``limit`` bounds the examples kept per code."""

    on_error: OnError = "fail"
    limit: int = 1000
    items: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, code: str, path: str, place: str | None, message: str, n: int = 1) -> None:
        """Record a fault that ``n`` rows have; once ``limit`` rows have it, it is only counted."""
        kind = CODES[code]
        before = self.counts[code]
        self.counts[code] += n
        if before < self.limit:
            action = self._action(kind)
            self.items.append(Finding(code, path, place, message, kind.severity, action))

    def _action(self, kind: Code) -> str:
        return {"fail": "none", "skip": kind.skip, "fix": kind.fix}[self.on_error]

    def account(self) -> list[dict[str, Any]]:
        """What was found, in short: ``code``, ``severity``, ``n``, and what was ``done`` about it;
        the gravest first."""
        order = sorted(self.counts, key=lambda c: (_GRAVE.index(CODES[c].severity), c))
        return [
            {
                "code": code,
                "severity": CODES[code].severity,
                "n": self.counts[code],
                "done": self._action(CODES[code]),
            }
            for code in order
            if self.counts[code]
        ]

    def at_least(self, severity: Severity) -> int:
        """How many findings are at least so grave."""
        ranks = {"info": 0, "warning": 1, "error": 2}
        return sum(n for c, n in self.counts.items() if ranks[CODES[c].severity] >= ranks[severity])

    @property
    def errors(self) -> int:
        return self.at_least("error")

    def to_dict(self) -> dict[str, Any]:
        return {
            "counts": dict(sorted(self.counts.items())),
            "findings": [
                {**asdict(f), "fix": CODES[f.code].fix, "skip": CODES[f.code].skip}
                for f in self.items
            ],
        }

    def table(self, examples: int = 3) -> str:
        """For people: one line per code, the first places, and what ``fix`` would do."""
        if not self.counts:
            return "no findings"
        lines = []
        for code, n in sorted(
            self.counts.items(), key=lambda c: (CODES[c[0]].severity != "error", c[0])
        ):
            kind = CODES[code]
            lines.append(f"{kind.severity:<8} {n:>7} {code:<24} {kind.meaning}; fix {kind.fix}")
            shown = [f for f in self.items if f.code == code][:examples]
            lines += [
                f"{'':17}{f.path}{' ' + f.place if f.place else ''}: {f.message}" for f in shown
            ]
        return "\n".join(lines)
