"""One module per verb of the command line: ``flags(parser)`` and ``run(arguments)``.

Adding a verb is such a module and a line in the table. ``run`` makes one public call and gives its
result for machines, its text for people, and the exit code.
"""

from __future__ import annotations

__all__ = ["VERBS"]

VERBS = {
    "convert": "convert a dataset to another format, or to a store (.granum), or from one",
    "info": "what a store or dataset holds",
    "show": "draw a sample with its annotations",
    "validate": "find every fault of a dataset",
    "diff": "what differs between two datasets",
    "merge": "unite datasets",
    "score": "add columns of scores: quality, hashes, descriptors, neighbours",
    "check": "annotations that break rules: outside, tiny, twice, part outside whole",
    "dedup": "find duplicates and near duplicates",
    "leakage": "find what stands in several splits, or in two stores",
    "split": "split a store, groups whole and labels in proportion",
    "stats": "what a dataset holds, how varied it is, how it differs from another",
    "select": "choose samples: varied, balanced, best, random",
    "crops": "cut objects out as a dataset of their own",
    "eval": "judge predictions by an official protocol",
    "hierarchy": "mask trees of images, or of the masks that are there",
    "train": "train a hook, judge it officially, write losses and predictions back",
    "report": "a page that shows a dataset: pictures, distributions, findings, diversity, numbers",
    "browse": "open a dataset in the FiftyOne App, and take edits back",
    "formats": "the formats, what each keeps, and its options",
    "demo": "make a dataset with planted faults from a seed, and walk the whole road on it",
    "gc": "remove files of a store that nothing names",
}
"""Verb, which is its module in this package, and what it does."""
