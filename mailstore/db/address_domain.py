"""The domain of an address, in SQL: all behind the last `@`, in lower case; else the whole text.

A local part in quotes may have an `@` too (RFC 5321 §4.1.2): no pattern of LIKE tells the domain.
"""

from typing import Any

from sqlalchemy import ColumnElement, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class address_domain(FunctionElement[str]):  # noqa: N801 - as SQLAlchemy's own functions
    """Domain of the address in a column: `address_domain(deliveries.c.sender)`."""

    type = Text()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str]) -> None:
        super().__init__(column)


@compiles(address_domain)
def without_local_part(element: address_domain, compiler: SQLCompiler, **options: Any) -> str:
    """For SQLite: the text without its part up to the last `@`."""
    text = compiler.process(element.clauses, **options)
    local_part = f"rtrim({text}, replace({text}, '@', ''))"
    return f"lower(substr({text}, length({local_part}) + 1))"


@compiles(address_domain, "postgresql")
def after_at(element: address_domain, compiler: SQLCompiler, **options: Any) -> str:
    """For PostgreSQL: the longest end without an `@`."""
    text = compiler.process(element.clauses, **options)
    return f"lower(substring({text} from '[^@]*$'))"
