"""Search for messages by address, Message-ID, peer and time, the newest first (DOMAIN §9.59).

Two sources, merged by the identifier of the message: the trace journal of this machine, which has
all that was accepted since `trace.keep_days`, and the database, which has what mailboxes and the
queue hold.  A Message-ID is in the journal alone, as a digest.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Final

from foundation.ids import time_of
from foundation.journal import files as journal_folder
from foundation.journal.newest import HOUR, hours_between, in_order, newest_events
from foundation.journal.search import Event
from foundation.privacy import mask
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.address import address_key
from mailstore.rights.coverage import domain_of
from mailstore.rights.model import Action
from relay.queue_admin.message_search import MessageTerms, newest_messages

from ..assembly.storage import open_store, storage_folder
from ..errors import OperatorError
from ..settings.model import Settings
from .acts import Act
from .trace_view import View
from .tracing import TraceError, view_of

_NAMES: Final = ("accepted", "submitted")  # events of a message that is ours from then on
_HOURS_KEPT: Final = 26  # a session lives a day, and its hours are asked again and again


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message, with patients' identifiers masked; `peer` is '' where only the session has it."""

    id: str
    at: datetime
    sender: str
    recipients: tuple[str, ...]
    size: int | None
    peer: str


@dataclass(slots=True)
class Found:
    """Result of a search.  `more`: the limit ended it; older messages are behind the last one.

    `database_problem`: reason why the database was not searched, else empty.  `journal_since`:
    begin of this machine's journal; None without one.
    """

    messages: list[FoundMessage] = field(default_factory=list)
    more: bool = False
    database_problem: str = ""
    journal_since: datetime | None = None


def search_all(settings: Settings, terms: MessageTerms, digest: str | None, *, limit: int) -> Found:
    """Search for the Unix user.  Raises TraceError for an unreadable journal."""
    try:
        store = open_store(settings)
    except (OperatorError, StoreUnavailable) as error:
        return _search(
            settings, None, terms, digest, None, limit, Found(database_problem=str(error))
        )
    with closing(store):
        return _search(settings, store, terms, digest, None, limit, Found())


def search_for(
    act: Act,
    settings: Settings,
    terms: MessageTerms,
    digest: str | None,
    told: Mapping[str, object],
    *,
    limit: int,
) -> Found:
    """Search for an account, in what its roles cover; `told`: the search, for its audit row.

    Raises NotAllowed for an account without a role, TraceError, StoreUnavailable.
    """
    covered = act.coverage(Action.TRACE)
    view = None if covered is None else view_of(act.store, covered)
    found = _search(settings, act.store, terms, digest, view, limit, Found())
    act.audit_unseen(
        "message.searched",
        tenant=None if covered is None else covered.tenant_id,
        found=len(found.messages),
        terms=", ".join(f"{name}={value}" for name, value in told.items()),
    )
    return found


def _search(
    settings: Settings,
    store: Store | None,
    terms: MessageTerms,
    digest: str | None,
    view: View | None,
    limit: int,
    result: Found,
) -> Found:
    journal = _JournalSearch(storage_folder(settings) / journal_folder.NAME, terms, digest)
    sources = [journal.messages()]
    # A Message-ID is in no table.
    if store is not None and digest is None:
        sources.append(_stored(store, terms, result))
    merged = heapq.merge(*sources, key=lambda one: one.id, reverse=True)
    by_id = (_joined(list(same)) for _, same in groupby(merged, key=lambda one: one.id))
    seen = by_id if view is None else filter(None, (_narrowed(view, terms, one) for one in by_id))
    try:
        result.journal_since = journal.since
        result.messages = list(islice(seen, limit + 1))
    except OSError as error:
        raise TraceError(f"trace journal unreadable: {error}") from error
    result.more = len(result.messages) > limit
    del result.messages[limit:]
    return result


def _joined(same: list[FoundMessage]) -> FoundMessage:
    """Message with all that the sources know of it."""
    first, last = same[0], same[-1]
    every = dict.fromkeys(chain.from_iterable(one.recipients for one in same))
    peer = next((one.peer for one in same if one.peer), "")
    return FoundMessage(first.id, first.at, last.sender, tuple(every), last.size, peer)


def _narrowed(view: View, terms: MessageTerms, one: FoundMessage) -> FoundMessage | None:
    """The message as an account may see it; None if it concerns no domain of it.

    A search by what is not shown finds nothing: its success would tell.
    """
    if not view.concerns(one.sender, one.recipients):
        return None
    if terms.address not in {None, address_key(one.sender)} and not view.recipients(
        one.sender, [str(terms.address)]
    ):
        return None
    if terms.peer is not None and one.peer == "local" and not view.covered.has(one.sender):
        return None
    shown = tuple(view.recipients(one.sender, one.recipients))
    return FoundMessage(one.id, one.at, one.sender, shown, one.size, one.peer)


def _stored(store: Store, terms: MessageTerms, result: Found) -> Iterator[FoundMessage]:
    try:
        for one in newest_messages(store.database, terms):
            to = tuple(map(mask, one.recipients))
            yield FoundMessage(one.id, time_of(one.id), mask(one.sender), to, one.size, one.peer)
    except StoreUnavailable as error:
        result.database_problem = str(error)


class _JournalSearch:
    """Messages in the journal that fit, the newest first."""

    def __init__(self, folder: Path, terms: MessageTerms, digest: str | None) -> None:
        self._folder = folder
        self._terms = terms
        self._digest = digest
        self._needle = _needle(terms, digest)
        self._peer_sessions = lru_cache(_HOURS_KEPT)(self._sessions_of_peer)

    @property
    def since(self) -> datetime | None:
        """Begin of the oldest file.  Raises OSError."""
        every = journal_folder.hours(self._folder)
        return every[0].begins if every else None

    def messages(self) -> Iterator[FoundMessage]:
        """Messages by identifier, each once or more.  Raises OSError."""
        terms = self._terms
        until = terms.until if terms.before is None else min(terms.until, time_of(terms.before))
        files = hours_between(self._folder, terms.since, until)
        events = (event for one in files for event in self._fitting(one.path))
        for message, event in in_order(events):
            if message < terms.newest and time_of(message) >= terms.since:
                yield _message(message, event)

    def _fitting(self, path: Path) -> Iterator[Event]:
        return filter(self._fits, newest_events(path, _NAMES, self._needle))

    def _fits(self, event: Event) -> bool:
        facts, terms = event.facts, self._terms
        if self._digest is not None and facts.get("message_id_digest") != self._digest:
            return False
        sender, recipients = _envelope_sender(facts), list(_recipients(facts))
        if terms.address not in {None, *map(address_key, [sender, *recipients])}:
            return False
        if terms.peer is None:
            return True
        if event.name == "submitted":
            return terms.peer in map(domain_of, recipients)
        return domain_of(sender) == terms.peer or self._of_peer(event.session)

    def _of_peer(self, session: str) -> bool:
        if not session:
            return False
        begun = time_of(session).replace(minute=0, second=0, microsecond=0)
        # The handshake may end in the hour after the session's begin.
        return any(session in self._peer_sessions(hour) for hour in (begun, begun + HOUR))

    def _sessions_of_peer(self, hour: datetime) -> frozenset[str]:
        """Sessions of the peer whose TLS began in this hour."""
        wanted = self._terms.peer or ""
        path = journal_folder.hour_file(self._folder, hour.isoformat())
        return frozenset(
            event.session
            for event in newest_events(path, ("tls.started",), _plain(wanted))
            if wanted in str(event.facts.get("peer", "")).lower()
        )


def _needle(terms: MessageTerms, digest: str | None) -> bytes:
    """Octets that each line of a fitting message has in some case; empty if none is certain."""
    if digest is not None:
        return digest.encode()
    return _plain((terms.address or "").rpartition("@")[0])


def _plain(text: str) -> bytes:
    """Octets of a text that JSON writes as it is; else none."""
    return text.encode() if text.isascii() and not set(text) & set('"\\') else b""


def _message(message: str, event: Event) -> FoundMessage:
    facts = event.facts
    size = facts.get("size")
    return FoundMessage(
        message,
        time_of(message),
        _envelope_sender(facts),
        tuple(_recipients(facts)),
        size if isinstance(size, int) else None,
        "local" if event.name == "submitted" else "",
    )


def _envelope_sender(facts: Mapping[str, Any]) -> str:
    sender = str(facts.get("sender", ""))
    return "" if sender == "<>" else sender


def _recipients(facts: Mapping[str, Any]) -> Iterable[str]:
    found = facts.get("recipients")
    return map(str, found) if isinstance(found, list) else ()
