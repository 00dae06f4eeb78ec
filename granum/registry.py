"""One registry for everything that can be added: formats, scorers, generators, metrics, hooks.

A built-in is a line in a lazy table (name -> module), so listing names imports nothing; a
third party registers through an entry point. A name taken twice is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from granum.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things, filled by a decorator when their module is imported.

    Args:
        what: what is registered, for messages (``"format"``).
        table: built-in names and the modules that register them; keep it sorted.
        group: entry-point group of third parties; each entry point names a module or the
            thing itself inside a module that registers it.
    """

    def __init__(self, what: str, table: Mapping[str, str], group: str) -> None:
        self.what, self.table, self.group = what, dict(table), group
        self._things: dict[str, T] = {}
        self._plugins: dict[str, str] | None = None

    def __call__(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a thing under ``name``."""

        def register(thing: T) -> T:
            if name in self._things:
                raise ValueError(
                    f"{self.what} {name!r} is registered twice: "
                    f"{self._things[name]!r} and {thing!r}"
                )
            self._things[name] = thing
            return thing

        return register

    def _lazy(self) -> dict[str, str]:
        if self._plugins is None:
            self._plugins = {
                e.name: e.value.partition(":")[0] for e in entry_points(group=self.group)
            }
            clash = self._plugins.keys() & self.table.keys()
            if clash:
                raise ValueError(f"a plug-in claims the built-in {self.what} {sorted(clash)}")
        return {**self.table, **self._plugins}

    def names(self) -> list[str]:
        """All known names, sorted; imports nothing."""
        return sorted({*self._lazy(), *self._things})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._lazy()

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            module = self._lazy().get(name)
            if module is None:
                raise UnknownNameError(self.what, name, self.names())
            import_module(module)
            if name not in self._things:
                raise ValueError(f"{module} does not register the {self.what} {name!r}")
        return self._things[name]
