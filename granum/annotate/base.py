"""What a generator is: an image in, a mask tree out.

A generator is a short file: a frozen dataclass whose fields are its parameters, registered by
``@generators("name")`` and named in the lazy table, or by an entry point of ``granum.generators``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from granum.annotate.tree import MaskTree
from granum.errors import MissingExtraError, UnknownNameError, UsageError
from granum.registry import Registry

__all__ = ["Generator", "Image", "generators", "make", "needed"]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Generator(ABC):
    """Makes a mask tree of an image. Fields are parameters.

    Class attributes: ``name`` as registered; ``version``, raised when results change; ``extra``,
    what ``pip install granum[...]`` brings its packages, or None.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    extra: ClassVar[str | None] = None

    @abstractmethod
    def tree(self, image: Image, *, seed: int = 0) -> MaskTree:
        """The tree of an image; equal arguments give equal trees.

        Args:
            image: RGB, uint8, shape (height, width, 3).
            seed: of whatever is drawn at random.

        Raises:
            MissingExtraError: a package it needs is not installed.
        """

    def parameters(self) -> dict[str, Any]:
        """Fields by name, JSON-serialisable."""
        return asdict(self)

    def producer(self, seed: int = 0) -> str:
        """``name@version`` with parameters, as a layer's producer."""
        said = json.dumps({**self.parameters(), "seed": seed}, sort_keys=True)
        return f"{self.name}@{self.version} {said}"


generators: Registry[type[Generator]] = Registry(
    "generator",
    {
        "slico_average": "granum.annotate.slico_average",
        "watershed_volume": "granum.annotate.watershed_volume",
    },
    "granum.generators",
)
"""All generators by name. Built-ins are this lazy table; plug-ins use the entry point."""


def make(generator: str | Generator, parameters: Mapping[str, Any] | None = None) -> Generator:
    """A generator by name with its parameters, or the one given.

    Raises:
        UnknownNameError: no such generator, or no such parameter.
        UsageError: parameters beside a generator that has its own.
    """
    if isinstance(generator, Generator):
        if parameters:
            raise UsageError("parameters are those of the generator given; name it instead")
        return generator
    kind = generators[generator]
    known = [f.name for f in fields(kind)]
    for name in parameters or {}:
        if name not in known:
            raise UnknownNameError(f"parameter of {generator}", name, known)
    return kind(**(parameters or {}))


def needed(module: str, generator: Generator, package: str) -> Any:
    """A module of a generator's extra, imported.

    Raises:
        MissingExtraError: ``package``, which has it, is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        extra = generator.extra or package
        raise MissingExtraError(generator.name, extra, package) from error
