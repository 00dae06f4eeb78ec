"""What one dataset is drawn by: which columns, which kinds, and what there is so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from granum.schema import rows
from granum.schema.losses import KINDS, name_of
from granum.testing import values

__all__ = ["Plan"]


@dataclass
class Plan:
    """What may be drawn, and what has been drawn so far."""

    draw: Any
    columns: frozenset[str] | None
    kinds: tuple[str, ...]
    plain: bool
    parts: int
    holes: bool
    always: frozenset[str] = frozenset()
    categories: list[rows.Category] = field(default_factory=list)
    groups: list[rows.Group] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def has(self, table: str, column: str) -> bool:
        """Whether a column may be drawn; bookkeeping always may."""
        if self.columns is None:
            return True
        name = name_of(table, column)
        own = set() if column in KINDS else {column}  # "object" is a kind, and a column
        return name is None or bool({name, f"{table}.{column}", *own} & self.columns)

    def one(self, pool: Any) -> Any:
        """One value of a sequence."""
        return self.draw(st.sampled_from(pool))

    def some(self, pool: Any, least: int = 0, most: int = 3) -> list[Any]:
        """Different values of a sequence."""
        if not pool:
            return []
        return list(
            self.draw(
                st.lists(st.sampled_from(pool), min_size=least, max_size=most, unique_by=repr)
            )
        )

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def subset(self, names: Sequence[str]) -> set[str]:
        """Each name with an even chance. One draw of bytes: numbers would be mostly small."""
        bits = self.draw(st.binary(min_size=len(names) // 8 + 1, max_size=len(names) // 8 + 1))
        return {n for i, n in enumerate(names) if bits[i // 8] >> i % 8 & 1}

    def maybe(self, table: str, column: str, pool: Any) -> Any:
        """A value of ``pool`` or None; None where the column is not drawn."""
        return self.one([None, *pool]) if self.has(table, column) else None

    def text(self) -> str:
        return str(self.one(values.PLAIN_TEXTS if self.plain else values.TEXTS))

    def json(self, table: str, column: str) -> dict[str, Any] | None:
        """Attributes or unknown keys."""
        if not self.has(table, column) or not self.flag():
            return None
        pool = values.PLAIN_ATTRIBUTES if self.plain else values.ATTRIBUTES
        names = self.some(values.ATTRIBUTE_NAMES, 1 if self.plain else 0)
        if column == "extra":
            names = [f"x-{n}" for n in names]
        # One name, one type: the plain case is a table of attributes.
        return {
            n: self.one(pool[values.type_of_name(n)] if self.plain else pool["any"]) for n in names
        }
