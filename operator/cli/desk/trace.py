"""Command `mssante trace ID`: all records of a message or session (DOMAIN §9.59).

Two sources, and each may be the only record: the trace journal, kept for `trace.keep_days`, and the
database.  If the database is unreachable, the journal is still searched.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from foundation.ids import parse_id, time_of
from foundation.journal.search import Event
from foundation.visible_text import visible

from ...assembly.clock import utc_now
from ...services.trace_view import StoredTrace, Trace
from ...services.tracing import TraceError, trace_all, trace_for
from ...settings.model import Settings, load
from ..acting import Acting, acting
from ..output import masked, say, show_json


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def trace(given: Path | None, identifier: str, *, as_json: bool, who: Acting) -> None:
    """Everything known of a message or session, by the ID in a reply, a log or a Received field.

    An account sees what its roles cover: with a role for some domains, the messages from and to
    these domains.
    """
    try:
        key = parse_id(identifier)
    except ValueError as error:
        raise click.UsageError(f"{error}; expected 32 hexadecimal digits") from None
    settings = load(given)
    if who.given:
        with who.open(settings) as act:
            found = trace_for(act, settings, key)
    else:
        found = trace_all(settings, key)
    if not found.known:
        raise TraceError(_unknown(settings, found))
    if as_json:
        _print_json(found)
    else:
        _print(found)


def _plain(stored: StoredTrace) -> dict[str, Any]:
    """Records of the database for printing, masked."""
    names = ("received_at", "sender", "size", "peer", "session")
    message = stored.message and {name: getattr(stored.message, name) for name in names}
    return {
        "database_problem": stored.problem,
        "message": masked(message),
        "mailboxes": [masked(asdict(one)) for one in stored.holders],
        "deliveries": [
            masked(asdict(one), [to.address for to in one.recipients]) for one in stored.deliveries
        ],
    }


def _unknown(settings: Settings, found: Trace) -> str:
    key, searched = found.key, found.journal.searched
    days = settings.trace.keep_days
    looked = "no traces here"
    if searched:
        first, last = map(_minute, searched)
        looked = f"not in the traces from {first} to {last}"
        if searched[0] > time_of(key):
            looked = f"traces of that time deleted, or on another machine; {looked}"
    database = (
        f"database not searched: {found.stored.problem}"
        if found.stored.problem
        else "not in the database"
    )
    since = (utc_now() - timedelta(days=days)).date()
    return (
        f"{key} not found (identifier of {_minute(time_of(key))}): {looked}; {database}; "
        f"traces are kept for {days} days, now since {since}"
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _print_json(found: Trace) -> None:
    events = [{"at": _time(e.at), "event": e.name, **e.facts} for e in found.journal.events]
    made_at = _time(time_of(found.key))
    show_json({"id": found.key, "made_at": made_at, "events": events, **_plain(found.stored)})


def _print(found: Trace) -> None:
    for event in found.journal.events:
        for line in _lines(found.key, event):
            say(line)
    stored = _plain(found.stored)
    if stored["database_problem"]:
        say(f"database: {stored['database_problem']}")
    if stored["message"] is not None:
        say(f"stored: {_facts(stored['message'])}")
    for holder in stored["mailboxes"]:
        say(f"held by: {_facts(holder)}")
    for delivery in stored["deliveries"]:
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
