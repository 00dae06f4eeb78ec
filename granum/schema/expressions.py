"""The language of ``--where``: Python-like comparisons over the columns of one table.

    width > 640 and split == 'train'
    category in ('dog', 'cat') and area >= 32**2 and not crowd
    attr.colour == 'red' or bbox.w < 10 or text is None

Names are columns of samples or of annotations (``sample.NAME`` / ``annotation.NAME`` where both
have it). ``category``, ``kind``, ``split`` compare as names; ``attr.NAME`` reads an attribute in
either form, ``col.NAME`` a derived column; ``bbox.x|y|w|h``; ``is None`` asks for absence. A
comparison with an absent value is false. Nothing is evaluated by Python itself.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.schema import tables
from granum.schema.tables import column

__all__ = ["Expression"]

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
}
_BOX = {"x": 0, "y": 1, "w": 2, "h": 3}

Values = npt.NDArray[Any]
# A value and where it is known; scalars are known everywhere.
Known = tuple[Any, Any]


class Expression:
    """A parsed condition.

    Raises:
        UsageError: bad syntax, an unknown column, or columns of both tables.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise UsageError(f"--where {text!r}: {error.msg}") from error
        self.table = self._which_table()

    def _which_table(self) -> str:
        certain: set[str] = set()
        possible: list[set[str]] = []
        for name in _names(self.tree):
            prefix, _, rest = name.partition(".")
            if prefix in ("sample", "annotation") and rest:
                certain.add(f"{prefix}s")
                known = (*tables.TABLES[f"{prefix}s"].names, "attr", "col")
                if rest.partition(".")[0] not in known:
                    raise UsageError(f"--where {self.text!r}: {prefix}s have no column {rest!r}")
            elif prefix in ("attr", "col"):
                possible.append({"samples", "annotations"})
            else:
                inside = {t for t in ("samples", "annotations") if prefix in tables.TABLES[t].names}
                if not inside:
                    raise UsageError(
                        f"--where {self.text!r}: no column {prefix!r}; samples have "
                        f"{', '.join(tables.SAMPLES.names)}; annotations have "
                        f"{', '.join(tables.ANNOTATIONS.names)}"
                    )
                possible.append(inside)
        options = {"samples", "annotations"}
        for choice in [*possible, *({c} for c in certain)]:
            options &= choice
        if not options:
            raise UsageError(
                f"--where {self.text!r} mixes columns of samples and of annotations; "
                "give two conditions"
            )
        self.either = len(options) == 2
        return "annotations" if "annotations" in options else "samples"

    def settle(self, sample_columns: Iterable[str], annotation_columns: Iterable[str]) -> None:
        """Where only ``attr.*`` and ``col.*`` are named: the table that has them is meant."""
        names = {n.replace("attributes.", "attr.") for n in _names(self.tree)}
        if self.either and names & {*sample_columns} and not names & {*annotation_columns}:
            self.table = "samples"

    def mask(self, table: pa.Table, categories: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows of ``table`` it holds for."""
        try:
            value, known = _Evaluation(self, table, categories).of(self.tree)
        except TypeError as error:  # a text where a number is needed
            raise UsageError(f"--where {self.text!r}: {error}") from error
        shape = table.num_rows
        return np.broadcast_to(np.asarray(value, bool), shape) & np.broadcast_to(known, shape)


def _names(node: ast.AST) -> list[str]:
    """Dotted column names used anywhere in the tree."""
    dotted = _dotted(node)
    if dotted is not None:
        return [dotted]
    return [name for child in ast.iter_child_nodes(node) for name in _names(child)]


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    return None


class _Evaluation:
    """One expression over one table; values come as (array, where known)."""

    def __init__(self, expression: Expression, table: pa.Table, categories: pa.Table) -> None:
        self.expression, self.table, self.categories = expression, table, categories

    def of(self, node: ast.AST) -> Known:
        dotted = _dotted(node)
        if dotted is not None:
            return self.named(dotted)
        match node:
            case ast.Constant(value=value):
                return value, True
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                return [self.of(i)[0] for i in items], True
            case ast.BoolOp(op=op, values=parts):
                return self.logical(op, [self.of(p) for p in parts])
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                value, known = self.of(inner)
                return ~np.asarray(value, bool), known
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value, known = self.of(inner)
                return -value, known
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                (a, known_a), (b, known_b) = self.of(left), self.of(right)
                with np.errstate(all="ignore"):
                    return _ARITHMETIC[type(op)](a, b), np.logical_and(known_a, known_b)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.compared(left, ops, others)
        raise UsageError(f"--where {self.expression.text!r}: {ast.unparse(node)!r} is not allowed")

    def logical(self, op: ast.boolop, parts: list[Known]) -> Known:
        # A condition on an absent value is false, so "or" can still hold through its other side.
        join = np.logical_and if isinstance(op, ast.And) else np.logical_or
        value: Any = None
        for part, known in parts:
            truth = np.logical_and(np.asarray(part, bool), known)
            value = truth if value is None else join(value, truth)
        return value, True

    def compared(self, left: ast.AST, ops: list[ast.cmpop], others: list[ast.expr]) -> Known:
        total: Any = True
        known: Any = True
        for op, right in zip(ops, others, strict=True):
            if isinstance(op, ast.Is | ast.IsNot):
                here = np.broadcast_to(self.of(left)[1], self.table.num_rows)
                total = np.logical_and(total, here if isinstance(op, ast.IsNot) else ~here)
                continue
            (a, known_a), (b, known_b) = self.of(left), self.of(right)
            known = np.logical_and(known, np.logical_and(known_a, known_b))
            if isinstance(op, ast.In | ast.NotIn):
                found = np.isin(a, b)
                total = np.logical_and(total, found if isinstance(op, ast.In) else ~found)
            else:
                try:
                    total = np.logical_and(total, _COMPARE[type(op)](a, b))
                except TypeError as error:
                    raise UsageError(f"--where {self.expression.text!r}: {error}") from error
            left = right
        return total, known

    def named(self, dotted: str) -> Known:
        prefix, _, rest = dotted.partition(".")
        if prefix in ("sample", "annotation") and rest:
            prefix, _, rest = rest.partition(".")
        if prefix in ("attr", "attributes") and rest:
            return self.attribute(rest)
        if prefix == "col" and rest:
            if dotted not in self.table.column_names:
                raise UsageError(f"--where {self.expression.text!r}: no derived column {rest!r}")
            return _values(self.table[dotted])
        array = column(self.table, prefix, tables.TABLES[self.expression.table])
        if prefix == "category" and self.expression.table == "annotations":
            names = np.asarray(self.categories["name"].to_pylist(), object)
            known = np.asarray(array.is_valid())
            index = np.asarray(array.fill_null(0), np.int64)
            return (names[index] if len(names) else np.full(len(index), "", object)), known
        if prefix == "bbox" and rest in _BOX:
            from granum.schema.geometry import fixed_list

            valid, boxes = fixed_list(array)
            return boxes[:, _BOX[rest]], valid
        if rest:
            raise UsageError(f"--where {self.expression.text!r}: no column {dotted!r}")
        return _values(array)

    def attribute(self, name: str) -> Known:
        """An attribute, from its typed column or from the JSON of rows that lack it there."""
        n = self.table.num_rows
        values, known = np.full(n, None, object), np.zeros(n, bool)
        promoted = f"attr.{name}"
        if promoted in self.table.column_names:
            typed, known = _values(self.table[promoted])
            if known.all():
                return typed, known
            values[known] = typed[known]
        texts = column(self.table, "attributes", tables.TABLES[self.expression.table])
        if texts.null_count < n:
            for i, text in enumerate(texts.to_pylist()):
                if text is not None and not known[i]:
                    value = json.loads(text).get(name)
                    if value is not None:
                        values[i], known[i] = value, True
        return _comparable(values, known), known


def _comparable(values: Values, known: Values) -> Values:
    """Objects of one type as an array of it, so that ``<`` works where some are absent."""
    kinds = {type(v) for v in values[known]}
    if kinds and kinds <= {int, float, bool}:
        return np.asarray(np.where(known, values, 0), np.float64 if float in kinds else np.int64)
    if kinds == {str}:
        return np.where(known, values, "")
    return values


def _values(array: pa.ChunkedArray) -> tuple[Values, Values]:
    known = np.asarray(array.is_valid())
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_string(kind):
        return np.asarray(array.fill_null("").to_pylist(), object), known
    if pa.types.is_boolean(kind):
        return np.asarray(array.fill_null(False)), known
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(array.fill_null(0)), known
    return np.asarray([None] * len(array), object), known
