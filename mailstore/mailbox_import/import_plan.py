"""Plan of a bulk import: for each line, the mailbox to add or to change, or the error. Pure.

A line whose address is a mailbox already changes it; address, type and identifiers never change.
An empty cell leaves all as it is, `-` takes the value away.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mailstore.errors import InvalidAttribute, MailstoreError
from mailstore.mailbox_import.csv_form import CsvLine
from mailstore.mailboxes.address import MailboxAddress, address_key, parse_mailbox_address
from mailstore.mailboxes.attributes import (
    Attribute,
    Value,
    check_values,
    directory_warnings,
    need_responsible,
)
from mailstore.mailboxes.holders import check_holders
from mailstore.mailboxes.identifiers import (
    Identifier,
    IdentifierKind,
    MailboxType,
    check_attachment,
    check_structure,
    identifier_and_structure,
    parse_identifier,
)
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.usage import parse_size

_KINDS: Final = tuple(kind.value.lower() for kind in IdentifierKind)
COLUMNS: Final = ("address", "type", *_KINDS, "holders", *map(str, Attribute), "quota")
REQUIRED: Final = ("address",)
_NONE: Final = "-"
_YES: Final = frozenset({"yes", "oui", "true", "1", "o", "y"})
_NO: Final = frozenset({"no", "non", "false", "0", "n", _NONE})


class Action(StrEnum):
    """Effect of a line."""

    ADD = "add"
    CHANGE = "change"
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class KnownMailbox:
    """A mailbox that exists, with the RPPS of its co-holders."""

    mailbox: Mailbox
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Things that exist: mailboxes by address as compared, owners of aliases, hosted domains."""

    mailboxes: Mapping[str, KnownMailbox]
    aliases: Mapping[str, str]
    domains: Collection[str]
    luhn: frozenset[IdentifierKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """Result of a line. `detail`: what changes, a warning, or why it is refused.

    `holders` None: stay; `quota` is given if `sets_quota`. A new mailbox has type and identifier.
    """

    number: int
    address: str
    action: Action
    detail: str = ""
    parsed: MailboxAddress | None = None
    type: MailboxType | None = None
    identifier: Identifier | None = None
    structure: Identifier | None = None
    attributes: Mapping[Attribute, Value] = field(default_factory=dict)
    holders: tuple[str, ...] | None = None
    sets_quota: bool = False
    quota: int | None = None
    known: Mailbox | None = None


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of a line as values; None where a cell is empty."""

    type: MailboxType | None
    identifiers: tuple[Identifier, ...]
    attributes: Mapping[Attribute, Value]
    holders: tuple[Identifier, ...] | None
    quota: tuple[int | None] | None


def plan(lines: Sequence[CsvLine], known: Known) -> list[PlannedLine]:
    """Plan all lines, in order. An address that a line before has named is refused."""
    planned, seen = [], dict[str, int]()
    for line in lines:
        address = line.cells.get("address", "")
        key = address_key(address)
        if line.problem:
            done = _refused(line, line.problem)
        elif key in seen:
            done = _refused(line, f"line {seen[key]} has the same address")
        else:
            seen[key] = line.number
            try:
                done = _planned(line, address, key, known)
            except MailstoreError as error:
                done = _refused(line, str(error))
        planned.append(done)
    return planned


def _planned(line: CsvLine, address: str, key: str, known: Known) -> PlannedLine:
    cells = _read(line.cells, known.luhn)
    present = known.mailboxes.get(key)
    if present is not None:
        return _change(line, cells, present)
    return _addition(line, address, key, cells, known)


def _addition(line: CsvLine, address: str, key: str, cells: _Cells, known: Known) -> PlannedLine:
    parsed = parse_mailbox_address(address)
    if parsed.domain not in known.domains:
        raise InvalidAttribute(f"the domain {parsed.domain} is not hosted here: add it first")
    if key in known.aliases:
        raise InvalidAttribute(f"{parsed} is or was an alias of {known.aliases[key]}")
    if cells.type is None:
        raise InvalidAttribute("a new mailbox needs a type: PER, ORG, APP or CAB")
    chosen = identifier_and_structure(cells.type, cells.identifiers)
    if chosen is None:
        raise InvalidAttribute(
            f"a new mailbox needs one of {', '.join(_KINDS)}; PER may have rpps and a structure"
        )
    identifier, structure = chosen
    check_attachment(cells.type, identifier)
    check_structure(cells.type, identifier, structure)
    attributes = check_values(cells.type, cells.attributes)
    need_responsible(cells.type, attributes)
    holders = cells.holders or ()
    check_holders(cells.type, identifier, holders)
    return PlannedLine(
        number=line.number,
        address=str(parsed),
        action=Action.ADD,
        detail="; ".join((f"{cells.type} on {identifier}", *directory_warnings(attributes))),
        parsed=parsed,
        type=cells.type,
        identifier=identifier,
        structure=structure,
        attributes=attributes,
        holders=tuple(sorted({one.value for one in holders})) or None,
        sets_quota=True,
        quota=cells.quota[0] if cells.quota else None,
    )


def _change(line: CsvLine, cells: _Cells, present: KnownMailbox) -> PlannedLine:
    box = present.mailbox
    if box.deleted_at is not None:
        raise InvalidAttribute(f"the mailbox {box.address} is deleted")
    if cells.type not in {None, box.type}:
        raise InvalidAttribute(f"the type of a mailbox never changes: it is {box.type}")
    for given in cells.identifiers:
        if given not in {box.identifier, box.structure}:
            raise InvalidAttribute(
                f"the identifier of a mailbox never changes: it is {box.identifier}"
            )
    attributes = {
        attribute: value
        for attribute, value in check_values(box.type, cells.attributes).items()
        if getattr(box, attribute.value) != value
    }
    changed = [attribute.value for attribute in attributes]
    holders = None
    if cells.holders is not None:
        check_holders(box.type, box.identifier, cells.holders)
        holders = tuple(sorted({one.value for one in cells.holders}))
        holders = None if holders == present.holders else holders
        changed += [] if holders is None else ["holders"]
    sets_quota = cells.quota is not None and cells.quota[0] != box.quota
    changed += ["quota"] if sets_quota else []
    warnings = directory_warnings(attributes)
    return PlannedLine(
        number=line.number,
        address=box.address,
        action=Action.CHANGE if changed else Action.KEEP,
        detail="; ".join((", ".join(changed), *warnings)),
        attributes=attributes,
        holders=holders,
        sets_quota=sets_quota,
        quota=cells.quota[0] if cells.quota else None,
        known=box,
    )


def _read(cells: Mapping[str, str], luhn: frozenset[IdentifierKind]) -> _Cells:
    kind = cells.get("type", "").upper()
    if kind and kind not in set(MailboxType):
        raise InvalidAttribute(f"the type {kind!r} is none of {', '.join(MailboxType)}")
    holders, quota = cells.get("holders", ""), cells.get("quota", "")
    return _Cells(
        type=MailboxType(kind) if kind else None,
        identifiers=tuple(
            parse_identifier(IdentifierKind(name.upper()), cells[name], luhn=luhn)
            for name in _KINDS
            if cells.get(name)
        ),
        attributes={
            attribute: _value(attribute, cells[attribute.value])
            for attribute in Attribute
            if cells.get(attribute.value)
        },
        holders=_holders(holders, luhn) if holders else None,
        quota=(None if quota == _NONE else parse_size(quota),) if quota else None,
    )


def _value(attribute: Attribute, cell: str) -> Value:
    if attribute in {Attribute.RED_LIST, Attribute.NO_REPLY}:
        if cell.lower() not in _YES | _NO:
            raise InvalidAttribute(f"{attribute} {cell!r} is neither yes nor no")
        return cell.lower() in _YES
    if cell == _NONE:
        return None
    if attribute is Attribute.RANK:
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 9):
            raise InvalidAttribute(f"rank {cell!r} is not a number")
        return int(cell)
    return cell


def _holders(cell: str, luhn: frozenset[IdentifierKind]) -> tuple[Identifier, ...]:
    if cell == _NONE:
        return ()
    return tuple(parse_identifier(IdentifierKind.RPPS, one, luhn=luhn) for one in cell.split())


def _refused(line: CsvLine, problem: str) -> PlannedLine:
    return PlannedLine(
        number=line.number,
        address=line.cells.get("address", ""),
        action=Action.REFUSE,
        detail=problem,
    )
