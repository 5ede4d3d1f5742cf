"""Command `mssante search`: messages by address, Message-ID, peer and time (DOMAIN §9.59)."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from foundation.ids import parse_id
from mailstore.mailboxes.address import address_key
from relay.queue_admin.message_search import MessageTerms
from relay.smtp.message_id import message_id_digest

from ...assembly.clock import utc_now
from ...services.message_search import Found, search_all, search_for
from ...settings.model import load
from ..acting import Acting, acting
from ..options.times import TimeParam, check_span
from ..output import say, show_json, show_rows

_DAYS: Final = 7
_COLUMNS: Final = ("id", "at", "sender", "recipients", "size", "peer")


@click.command()
@click.option("--address", help="Sender or a recipient, of the envelope.")
@click.option("--message-id", help="Field Message-ID; in the trace journal of this machine alone.")
@click.option("--peer", help="Domain of the other side, or a part of its certificate's name.")
@click.option("--since", type=TimeParam(), help=f"First moment. [{_DAYS} days before the last]")
@click.option("--until", type=TimeParam(), help="Moment before which. [now]")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--before", metavar="ID", help="Go on behind this page: the last ID of it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def search(given: Path | None, /, *, limit: int, as_json: bool, who: Acting, **wanted: Any) -> None:
    """Messages by envelope address, Message-ID, peer and time, the newest first; then: trace ID.

    An account sees what its roles cover: with a role for some domains, the messages from and to
    these domains.
    """
    settings = load(given)
    told = {name: value for name, value in wanted.items() if value is not None}
    given_texts = [name for name in ("address", "message_id", "peer") if name in told]
    texts: dict[str, str] = {name: _text(told[name]) for name in given_texts}
    terms = _terms(texts, wanted["since"], wanted["until"], wanted["before"])
    identifier = texts.get("message_id")
    digest = None if identifier is None else message_id_digest(identifier.encode())
    if who.given:
        with who.open(settings) as act:
            found = search_for(act, settings, terms, digest, told, limit=limit)
    else:
        found = search_all(settings, terms, digest, limit=limit)
    _print(found, terms, as_json=as_json)


def _terms(
    texts: Mapping[str, str], since: datetime | None, until: datetime | None, before: str | None
) -> MessageTerms:
    address, peer = texts.get("address"), texts.get("peer")
    until = until or utc_now()
    check_span(since, until)
    return MessageTerms(
        since=since or until - timedelta(days=_DAYS),
        until=until,
        address=None if address is None else address_key(address),
        peer=None if peer is None else peer.lower(),
        before=None if before is None else _identifier(before),
    )


def _text(value: str) -> str:
    if not value.strip():
        raise click.UsageError("empty value; leave the option out")
    return value.strip()


def _identifier(value: str) -> str:
    try:
        return parse_id(value)
    except ValueError as error:
        raise click.UsageError(f"--before: {error}") from None


def _print(found: Found, terms: MessageTerms, *, as_json: bool) -> None:
    rows = [asdict(one) for one in found.messages]
    reached = found.messages[-1].at if found.more else terms.since
    if as_json:
        show_json(
            {
                "messages": rows,
                "searched": {"since": reached, "until": terms.until},
                "journal_since": found.journal_since,
                "database_problem": found.database_problem,
                "more": found.more,
            }
        )
        return
    show_rows(rows, _COLUMNS, as_json=False)
    say(f"searched from {_minute(reached)} to {_minute(terms.until)}", err=True)
    if found.journal_since is None or found.journal_since > reached:
        begin = (
            "is empty" if found.journal_since is None else f"begins {_minute(found.journal_since)}"
        )
        say(f"the trace journal of this machine {begin}: before, the database alone", err=True)
    if found.database_problem:
        say(f"database: {found.database_problem}", err=True)
    if found.more:
        say(f"more may follow: --before {found.messages[-1].id}", err=True)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
