"""Columns of addresses: patients' are sealed on their way in, and opened on their way out.

A local part at `patient.mssante.fr` is a patient's identifier (DOMAIN §1.5). An address that names
that domain is stored as `~sealed:TOKEN@DOMAIN`, so that SQL still finds its domain; any other
address is stored as it is. A token is bound to its column. The same address has the same token
under the same key, which is its keyed hash: SQL finds it with the indexes that exist.

A value that no key at hand opens is read as an `UnreadableText`, never as an error: other rows of a
batch must not suffer.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Engine,
    Text,
    TypeDecorator,
    bindparam,
    func,
    or_,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from foundation.ins import PATIENT_DOMAIN
from foundation.privacy import suspicious
from foundation.unreadable_text import SEALED, UnreadableText


class TextSeal(Protocol):
    """Seals and opens the values of sealed columns; see `mailstore.sealed.address_seal`."""

    def seal(self, text: str, column: str) -> str:
        """Return the token of a text in a column."""

    def open(self, token: str, column: str) -> str:
        """Return the text of a token; an `UnreadableText` if no key at hand opens it."""

    def tokens(self, text: str, column: str) -> Sequence[str]:
        """Return all tokens that the text may have in a column, for a search."""

    def is_newest(self, token: str) -> bool:
        """True if sealing the text anew would change nothing."""


class _NoSeal:
    """Of a database opened without keys: it keeps what it is given."""

    def seal(self, text: str, column: str) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the text itself."""
        return text

    def open(self, token: str, column: str) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the marker of a missing key."""
        return UnreadableText(token)

    def tokens(self, text: str, column: str) -> Sequence[str]:  # noqa: ARG002 - as above
        """Return none: no row has a token that this process could know."""
        return ()

    def is_newest(self, token: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return True: nothing can be done."""
        return True


NO_SEAL: Final[TextSeal] = _NoSeal()
_ATTRIBUTE: Final = "mssante_seal"


def attach_seal(engine: Engine, seal: TextSeal) -> None:
    """Let the sealed columns of an engine use a seal."""
    setattr(engine.dialect, _ATTRIBUTE, seal)


def seal_of(dialect: Dialect) -> TextSeal:
    """Seal of an engine's dialect."""
    seal: TextSeal = getattr(dialect, _ATTRIBUTE, NO_SEAL)
    return seal


class SealedText(TypeDecorator[str]):
    """Text that may name a patient, such as an ORCPT: sealed as a whole if it looks so.

    `column` is its place, as `table.column`: a token moved elsewhere does not open.
    """

    impl = Text
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def hides(self, value: str) -> bool:
        """True if a text must be sealed."""
        # A text of a peer that looks like a token is sealed too, so that it is read as it came.
        return suspicious(value) or value.startswith(SEALED)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Seal a text that must not stand in clear."""
        if value is None or isinstance(value, UnreadableText):
            return None if value is None else value.token
        return seal_of(dialect).seal(value, self.column) if self.hides(value) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Open a token; an `UnreadableText` if its key is missing."""
        if value is None or not value.startswith(SEALED):
            return value
        return seal_of(dialect).open(value, self.column)


class SealedAddress(SealedText):
    """An address; sealed if it names the patients' domain, also within its local part."""

    cache_ok = True

    def hides(self, value: str) -> bool:
        """True if an address may be a patient's."""
        return PATIENT_DOMAIN in value

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Seal a patient's address."""
        if value is None or PATIENT_DOMAIN not in value:  # the common case, as cheap as can be
            return value.token if isinstance(value, UnreadableText) else value
        return seal_of(dialect).seal(value, self.column)


class _Tokens(TypeDecorator[str]):
    """An address to search for, as a JSON list of the tokens that it may have in a column."""

    impl = Text
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str:
        """Make the list, with the keys as they are now."""
        return json.dumps(list(seal_of(dialect).tokens(value or "", self.column)))


class _among(FunctionElement[bool]):  # noqa: N801 - as SQLAlchemy's own functions
    """Whether a text is in a JSON list."""

    inherit_cache = True


@compiles(_among)
def _in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    text, found = (compiler.process(one, **options) for one in element.clauses)
    return f"{text} IN (SELECT value FROM json_each({found}))"  # noqa: S608 - compiled parts


@compiles(_among, "postgresql")
def _in_postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    text, found = (compiler.process(one, **options) for one in element.clauses)
    return f"{text} IN (SELECT json_array_elements_text(CAST({found} AS json)))"


def raw(column: ColumnElement[str]) -> ColumnElement[str]:
    """A column's value as it is stored, for conditions and orders that need no more."""
    return type_coerce(column, Text())


def is_address(column: ColumnElement[str], address: str) -> ColumnElement[bool]:
    """Whether a column of addresses holds an address; case does not count.

    The local part of a sealed address is found as given, in lower case and in upper case.
    """
    stored = raw(column)
    plain: ColumnElement[bool] = func.lower(stored) == func.lower(address)
    if PATIENT_DOMAIN not in address.lower() or not isinstance(column.type, SealedText):
        return plain
    wanted = bindparam(None, address, type_=_Tokens(column.type.column), unique=True)
    return or_(plain, _among(stored, wanted))
