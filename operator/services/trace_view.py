"""Part of a trace for an account whose roles cover some domains.  Pure.

The message must concern a covered domain.  Shown are its sender, as its recipients know the sender
too; recipients at covered domains; and for mail from a covered domain its way out, and recipients
at other operators.  Recipients of other tenants here are left out.  An event or a fact is shown
only if it is listed below: of a new one, somebody must decide first.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from foundation.journal.search import Event, SearchResult
from mailstore.messages.messages import Message
from mailstore.rights.coverage import Coverage, domain_of
from relay.queue_admin.message_lookup import MessageHolder, QueuedDelivery

_ADDRESSES: Final = frozenset({"recipients", "to"})
_ALWAYS: Final = ("process", "message", "session")
_DELIVERY: Final = ("delivery", "domain")
_ACCEPTED: Final = ("size", "sender", "recipients", "receipt")
_LATE: Final = (*_DELIVERY, "recipients", "error")
# Events of the message, with the facts that are shown.
_OF_MESSAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "accepted": _ACCEPTED,
    "submitted": _ACCEPTED,
    "header_from.foreign": ("domains",),
}
# Events of its way out, for those who cover the sender.  Names of administrators and their reasons
# stay with the operator.
_OF_DELIVERY: Final[Mapping[str, tuple[str, ...]]] = {
    "delivery.attempted": (*_LATE, "attempt", "state", "reason"),
    "delivery.held": _DELIVERY,
    "delivery.delayed": _LATE,
    "delivery.expired": _LATE,
    "report.sent": (*_DELIVERY, "report", "to"),
    "report.nobody_to_tell": (),
    "report.error": ("delivery",),
    "queue.retried": _DELIVERY,
    "queue.held": _DELIVERY,
    "queue.released": _DELIVERY,
    "queue.dropped": (*_DELIVERY, "report"),
    "queue.forgotten": _DELIVERY,
}
# Events of the session that brought it; other events may be about other mail.
_OF_SESSION: Final[Mapping[str, tuple[str, ...]]] = {
    "session.opened": ("address",),
    "tls.started": ("version", "cipher", "peer", "serial", "chain"),
}


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """Records of a message in the database.

    `problem`: reason why the database could not be read, else empty.
    """

    problem: str = ""
    message: Message | None = None
    holders: tuple[MessageHolder, ...] = ()
    deliveries: tuple[QueuedDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of a session or message, by its identifier."""

    key: str
    journal: SearchResult
    stored: StoredTrace

    @property
    def known(self) -> bool:
        """True if there is anything."""
        return bool(self.journal.events) or self.stored.message is not None


@dataclass(frozen=True, slots=True)
class View:
    """Domains that an account covers, and all domains hosted here, of all tenants."""

    covered: Coverage
    hosted: frozenset[str]

    def recipients(self, sender: str, addresses: Iterable[str]) -> list[str]:
        """Recipients of a message that are shown."""
        ours = self.covered.has(sender)
        return [one for one in addresses if self.covered.has(one) or (ours and self._abroad(one))]

    def concerns(self, sender: str, addresses: Iterable[str]) -> bool:
        """True if the message is from or to a covered domain."""
        return self.covered.has(sender) or any(map(self.covered.has, addresses))

    def _abroad(self, address: str) -> bool:
        return domain_of(address) not in self.hosted

    def narrow(self, trace: Trace) -> Trace | None:
        """Part of a trace that is shown; None if the message concerns no covered domain."""
        own = [one for one in trace.journal.events if trace.key in one.messages]
        sender = _sender(trace, own)
        addressed = [str(one) for event in own for one in _recipients(event, trace.key)]
        addressed += [holder.mailbox for holder in trace.stored.holders]
        if not self.concerns(sender, addressed):
            return None
        events = [self._event(event, trace.key, sender) for event in trace.journal.events]
        kept = tuple(event for event in events if event is not None)
        return replace(
            trace,
            journal=replace(trace.journal, events=kept),
            stored=self._stored(trace.stored, sender),
        )

    def _event(self, event: Event, key: str, sender: str) -> Event | None:
        shown = self._facts_of(event, key, sender)
        if shown is None:
            return None
        facts: dict[str, Any] = {}
        for name in (*_ALWAYS, *shown):
            value = event.facts.get(name)
            if name in _ADDRESSES and isinstance(value, list):
                value = self.recipients(sender, map(str, value))
            if value is not None and value != []:
                facts[name] = value
        return replace(event, facts=facts)

    def _facts_of(self, event: Event, key: str, sender: str) -> Collection[str] | None:
        """Names of the facts that are shown; None for an event that is not."""
        if not event.messages:
            return _OF_SESSION.get(event.name)
        if event.facts.get("message") == key:
            found = _OF_MESSAGE.get(event.name)
            if found is None and self.covered.has(sender):
                found = _OF_DELIVERY.get(event.name)
            return found
        # A report is about another message: the message of the person who gets the report.
        told = event.name == "report.sent" and any(map(self.covered.has, _list(event, "to")))
        return _OF_DELIVERY[event.name] if told else None

    def _stored(self, stored: StoredTrace, sender: str) -> StoredTrace:
        has = self.covered.has
        holders = [
            one if has(one.recipient) else replace(one, recipient="")
            for one in stored.holders
            if has(one.mailbox)
        ]
        out = [one for one in stored.deliveries if has(sender) and self._abroad(f"@{one.domain}")]
        return replace(stored, holders=tuple(holders), deliveries=tuple(out))


def _sender(trace: Trace, own: Iterable[Event]) -> str:
    if trace.stored.message is not None:
        return trace.stored.message.sender
    named = [
        str(one.facts.get("sender", ""))
        for one in own
        if one.name in {"accepted", "submitted"} and one.facts.get("message") == trace.key
    ]
    return named[0] if named else ""


def _recipients(event: Event, key: str) -> list[Any]:
    """Recipients that an event names for the message `key`."""
    if event.facts.get("message") == key:
        return _list(event, "recipients") if event.name in _OF_MESSAGE else []
    return _list(event, "to") if event.facts.get("report") == key else []


def _list(event: Event, name: str) -> list[Any]:
    found = event.facts.get(name)
    return found if isinstance(found, list) else []
