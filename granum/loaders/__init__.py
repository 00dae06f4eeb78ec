"""Formats: one file each, reader and writer together.

``read`` takes a path to a dataset, ``sniff`` tells which format it is. To add a format, see
CONTRIBUTING.md.
"""

from __future__ import annotations

from granum.loaders.base import Format, Intake, formats

__all__ = ["Format", "Intake", "formats"]
