"""Command `mssante trace ID`: all records of a message or session (DOMAIN §9.59).

Two sources, and each may be the only record: the trace journal, kept for `trace.keep_days`, and the
database.  If the database is unreachable, the journal is still searched.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from foundation.ids import parse_id, time_of
from foundation.journal import files as journal_folder
from foundation.journal.search import Event, SearchResult, find
from foundation.visible_text import visible
from mailstore.errors import NotFound, StoreUnavailable
from mailstore.messages.messages import get_message
from relay.queue_admin.message_lookup import deliveries_of, holders_of

from ..assembly.clock import utc_now
from ..assembly.storage import open_store, storage_folder
from ..errors import OperatorError
from ..settings.model import Settings, load
from .output import masked, say, show_json

_SLACK: Final = timedelta(days=1)  # searched beyond a message's life: the queue may be held


class TraceError(OperatorError):
    """Unknown identifier, or unreadable journal."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Records of a message in the database, for printing.

    `database_problem`: reason why the database could not be read, else empty.
    """

    database_problem: str = ""
    message: Mapping[str, Any] | None = None
    mailboxes: tuple[Mapping[str, Any], ...] = ()
    deliveries: tuple[Mapping[str, Any], ...] = ()


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def trace(given: Path | None, identifier: str, *, as_json: bool) -> None:
    """Everything known of a message or session, by the ID in a reply, a log or a Received field."""
    try:
        key = parse_id(identifier)
    except ValueError as error:
        raise click.UsageError(f"{error}; expected 32 hexadecimal digits") from None
    settings = load(given)
    folder = storage_folder(settings) / journal_folder.NAME
    life = timedelta(hours=settings.outbound.life_hours) + _SLACK
    try:
        found = find(folder, key, utc_now(), life)
    except OSError as error:
        raise TraceError(f"trace journal unreadable: {error}") from error
    stored = _look_up(settings, key)
    if not found.events and stored.message is None:
        raise TraceError(_unknown(settings, key, found, stored))
    if as_json:
        _print_json(key, found, stored)
    else:
        _print(key, found, stored)


def _look_up(settings: Settings, key: str) -> _Stored:
    try:
        store = open_store(settings)
        with closing(store), store.database.read() as connection:
            message = get_message(connection, key).message
            holders = holders_of(connection, key)
            queued = deliveries_of(connection, key)
    except NotFound:
        return _Stored()
    except (OperatorError, StoreUnavailable) as error:
        return _Stored(database_problem=str(error))
    names = ("received_at", "sender", "size", "peer", "session")
    return _Stored(
        message=masked({name: getattr(message, name) for name in names}),
        mailboxes=tuple(masked(asdict(one)) for one in holders),
        deliveries=tuple(
            masked(asdict(one), [to.address for to in one.recipients]) for one in queued
        ),
    )


def _unknown(settings: Settings, key: str, found: SearchResult, stored: _Stored) -> str:
    days = settings.trace.keep_days
    looked = "no traces here"
    if found.searched:
        first, last = map(_minute, found.searched)
        looked = f"not in the traces from {first} to {last}"
        if found.searched[0] > time_of(key):
            looked = f"traces of that time deleted, or on another machine; {looked}"
    database = (
        f"database not searched: {stored.database_problem}"
        if stored.database_problem
        else "not in the database"
    )
    since = (utc_now() - timedelta(days=days)).date()
    return (
        f"{key} not found (identifier of {_minute(time_of(key))}): {looked}; {database}; "
        f"traces are kept for {days} days, now since {since}"
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _print_json(key: str, found: SearchResult, stored: _Stored) -> None:
    events = [{"at": _time(e.at), "event": e.name, **e.facts} for e in found.events]
    show_json({"id": key, "made_at": _time(time_of(key)), "events": events, **asdict(stored)})


def _print(key: str, found: SearchResult, stored: _Stored) -> None:
    for event in found.events:
        for line in _lines(key, event):
            say(line)
    if stored.database_problem:
        say(f"database: {stored.database_problem}")
    if stored.message is not None:
        say(f"stored: {_facts(stored.message)}")
    for holder in stored.mailboxes:
        say(f"held by: {_facts(holder)}")
    for delivery in stored.deliveries:
        say(f"queued: {_facts({k: v for k, v in delivery.items() if k != 'recipients'})}")
        for recipient in delivery["recipients"]:
            say(f"    {_facts(recipient)}")


def _lines(key: str, event: Event) -> list[str]:
    """Lines of an event, without the identifier `key`: one line, then its transcript if any."""
    facts = masked({name: value for name, value in event.facts.items() if value != key})
    process = facts.pop("process", "")
    transcript = facts.pop("lines", [])
    head = " ".join(filter(None, (_time(event.at), str(process), event.name, _facts(facts))))
    if not isinstance(transcript, list):
        transcript = [transcript]
    return [visible(head), *(f"    {visible(str(line))}" for line in transcript)]


def _facts(facts: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in facts.items() if value != "")


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_value, value))
    if isinstance(value, datetime):
        return _time(value)
    text = str(value)
    bare = text.isprintable() and not set(text) & set(' "\\,')
    return text if bare else visible(json.dumps(text, ensure_ascii=False))


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
