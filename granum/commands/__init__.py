"""One module per verb of the command line: ``flags(parser)`` and ``run(arguments)``.

Adding a verb is such a module and a line in the table. ``run`` makes one public call and gives its
result for machines, its text for people, and the exit code.
"""

from __future__ import annotations

__all__ = ["VERBS"]

VERBS = {
    "convert": (
        "convert",
        "convert a dataset to another format, or to a store (.granum), or from one",
    ),
    "info": ("info", "what a store or dataset holds"),
    "show": ("show", "draw a sample with its annotations"),
    "validate": ("validate", "find every fault of a dataset"),
    "diff": ("diff", "what differs between two datasets"),
    "merge": ("merge", "unite datasets"),
    "formats": ("formats", "the formats, what each keeps, and its options"),
    "demo": ("demo", "make a dataset from a seed and walk the main job on it"),
    "gc": ("gc", "remove files of a store that nothing names"),
}
"""Verb to its module in this package, and what it does."""
