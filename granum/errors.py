"""Errors: each says what is wrong, where, and what to do.

Every error carries a stable ``code`` and, in ``details()``, the facts a program needs
(``granum VERB --json`` prints both).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from granum.schema.findings import Findings
    from granum.schema.losses import LossReport

__all__ = [
    "AmbiguousFormatError",
    "ConflictError",
    "ExistsError",
    "FindingsError",
    "FormatError",
    "GranumError",
    "LossError",
    "MissingExtraError",
    "SchemaVersionError",
    "SizeUnknownError",
    "StoreError",
    "UnknownNameError",
    "UsageError",
]


class GranumError(Exception):
    """Base of all errors raised on purpose by granum."""

    code = "error"

    def details(self) -> dict[str, Any]:
        """Facts for machines, JSON-serialisable."""
        return {}


class UsageError(GranumError, ValueError):
    """A call that cannot be meant: an unknown option, two options that exclude each other."""

    code = "usage"


class FormatError(GranumError, ValueError):
    """A source file that cannot be read; names the file and the place in it."""

    code = "format"

    def __init__(self, path: str | Path, reason: str, place: str | None = None) -> None:
        self.path, self.reason, self.place = str(path), reason, place
        super().__init__(f"{path}{f' ({place})' if place else ''}: {reason}")

    def details(self) -> dict[str, Any]:
        return {"path": self.path, "place": self.place, "reason": self.reason}


class UnknownNameError(GranumError, LookupError):
    """A name that is not registered; lists those that are."""

    code = "unknown-name"

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        from difflib import get_close_matches

        self.name, self.known = name, sorted(known)
        near = get_close_matches(name, self.known, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        listed = f" Known: {', '.join(self.known)}." if self.known else " There are none yet."
        super().__init__(f"unknown {what} {name!r}.{meant}{listed}{f' {hint}' if hint else ''}")

    def details(self) -> dict[str, Any]:
        return {"name": self.name, "known": self.known}


class AmbiguousFormatError(GranumError, ValueError):
    """Several formats, or none, recognise a path; nothing is guessed."""

    code = "ambiguous-format"

    def __init__(self, message: str, candidates: dict[str, str]) -> None:
        self.candidates = candidates
        super().__init__(message)

    def details(self) -> dict[str, Any]:
        return {"candidates": self.candidates}


class LossError(GranumError, ValueError):
    """The target format cannot hold what the dataset holds. Nothing was written."""

    code = "loss"

    def __init__(self, report: LossReport, refused: Iterable[str]) -> None:
        self.report, self.refused = report, sorted(refused)
        super().__init__(
            f"{report.format} cannot hold all of this dataset; nothing was written.\n"
            f"{report.table()}\n"
            f"To write it all the same: --allow-loss {','.join(self.refused)}"
        )

    def details(self) -> dict[str, Any]:
        return {"refused": self.refused, "report": self.report.to_dict()}


class FindingsError(GranumError, ValueError):
    """The source has faults and ``on_error`` is ``fail``. Nothing was written."""

    code = "findings"

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        super().__init__(
            f"the source has faults; nothing was written.\n{findings.table()}\n"
            "To import what can be imported: --on-error skip (leave faulty records out) "
            "or --on-error fix (mend them)."
        )

    def details(self) -> dict[str, Any]:
        return self.findings.to_dict()


class StoreError(GranumError, ValueError):
    """A store that cannot be read: missing, unfinished or damaged."""

    code = "store"


class SchemaVersionError(StoreError):
    """A store written by a newer granum."""

    code = "schema-version"


class ConflictError(StoreError):
    """Another writer changed the store in a way that cannot be merged with this change."""

    code = "conflict"


class ExistsError(GranumError, FileExistsError):
    """The target exists and ``overwrite`` was not asked for."""

    code = "exists"


class SizeUnknownError(GranumError, ValueError):
    """An operation needs image sizes that neither the store nor the media at hand give."""

    code = "size-unknown"

    def __init__(self, keys: Iterable[str]) -> None:
        some = list(keys)
        super().__init__(
            f"the size of {len(some)} image(s) is unknown (first: {some[0] if some else '?'}). "
            "Name the folder of the images so that their headers can be read: "
            "granum convert … --images DIR, or granum.open(path, media_root=DIR)."
        )


class MissingExtraError(GranumError, ImportError):
    """An optional package is not installed."""

    code = "missing-extra"

    def __init__(self, what: str, extra: str, package: str) -> None:
        super().__init__(f"{what} needs {package}: pip install granum[{extra}]")
