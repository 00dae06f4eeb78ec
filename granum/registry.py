"""One registry for everything that can be added: formats, scorers, generators, metrics, hooks.

A built-in is a line in a lazy table (name -> module), so listing names imports nothing; a
third party registers through an entry point. A name taken twice is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from granum.errors import UnknownNameError, UsageError

__all__ = ["Registry", "built"]

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
            # The built-in ones need no scan of what is installed.
            module = self.table.get(name) or self._lazy().get(name)
            if module is None:
                raise UnknownNameError(self.what, name, self.names())
            import_module(module)
            if name not in self._things:
                raise ValueError(f"{module} does not register the {self.what} {name!r}")
        return self._things[name]


def built(registry: Registry[type[T]], text: str) -> T:
    """A registered dataclass made from ``name`` or ``name:key=value,key=value``.

    Values are read as the type of the field's default (``true``/``false`` for bools).

    Raises:
        UnknownNameError: no such name.
        UsageError: it has no such parameter, or the value does not fit it.
    """
    name, _, given = text.partition(":")
    made: Any = registry[name]  # a dataclass
    known = {f.name: f for f in fields(made)}
    values: dict[str, Any] = {}
    for pair in given.split(",") if given else []:
        key, _, value = pair.partition("=")
        if key not in known:
            raise UsageError(
                f"{registry.what} {name!r} has no parameter {key!r}; it has: "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        values[key] = _parsed(value, str(known[key].type), f"{name}:{key}")
    try:
        thing: T = made(**values)
    except TypeError as error:
        raise UsageError(f"{registry.what} {name!r}: {error}") from error
    return thing


def _parsed(value: str, kind: str, where: str) -> Any:
    """A word from the command line as the annotated type of a field."""
    if value.lower() in ("none", "null") and "None" in kind:
        return None
    readers: dict[str, Callable[[str], Any]] = {"bool": _flag, "int": int, "float": float}
    for name, reader in readers.items():
        if kind.replace(" | None", "") == name:
            try:
                return reader(value)
            except ValueError as error:
                raise UsageError(f"{where}: {value!r} is no {name}") from error
    return value


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError(value)
    return value.lower() in ("true", "1", "yes")
