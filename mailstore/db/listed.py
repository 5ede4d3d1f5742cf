"""Conditions on a list of any length, passed as one parameter; and lengths of texts in octets.

A statement with a parameter for each value has another text for each length, and a limit of them.
SQLite takes the list as JSON, PostgreSQL as an array: one prepared statement for all lengths.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    String,
    Text,
    TypeDecorator,
    bindparam,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class _Numbers(TypeDecorator[Collection[int]]):
    """A list of whole numbers."""

    impl = Text
    cache_ok = True
    of: TypeEngine[Any] = BigInteger()

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """An array on PostgreSQL, JSON elsewhere."""
        kind = ARRAY(self.of) if dialect.name == "postgresql" else Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        """The list, as the driver takes it."""
        found = list(value or ())
        return found if dialect.name == "postgresql" else json.dumps(found)


class _Texts(_Numbers):
    """A list of texts."""

    cache_ok = True
    of = String()


class _values(FunctionElement[Any]):  # noqa: N801 - as SQLAlchemy's own functions
    """The values of a list, as a subquery."""

    inherit_cache = True


@compiles(_values)
def _from_json(element: _values, compiler: SQLCompiler, **options: Any) -> str:
    # The text of a parameter, never a value.
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608


@compiles(_values, "postgresql")
def _from_array(element: _values, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **options)}))"


def listed_numbers(column: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """True if the column's number is in the list that the parameter `name` has."""
    return column.bool_op("IN")(_values(bindparam(name, type_=_Numbers())))


def listed_texts(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """True if the column's text is in the list that the parameter `name` has."""
    return column.bool_op("IN")(_values(bindparam(name, type_=_Texts())))


class octets_of(FunctionElement[int]):  # noqa: N801 - as SQLAlchemy's own functions
    """Length of a text in octets of UTF-8."""

    type = BigInteger()
    inherit_cache = True


@compiles(octets_of)
def _by_blob(element: octets_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


@compiles(octets_of, "postgresql")
def _by_length(element: octets_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"
