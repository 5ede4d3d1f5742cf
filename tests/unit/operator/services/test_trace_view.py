"""Part of a trace that an account sees whose roles cover some domains (DOMAIN §9.59)."""

from typing import Any

import pytest

from foundation.journal.search import Event, SearchResult
from mailstore.messages.messages import Message
from mailstore.rights.coverage import Coverage
from mssante_operator.services.trace_view import StoredTrace, Trace, View
from relay.queue_admin.message_lookup import MessageHolder, QueuedDelivery
from tests.support.clock import NOW
from tests.support.delivery.queued import message_id

KEY, OTHER, REPORT, SESSION = map(message_id, range(1, 5))
OURS, THEIRS, ABROAD = "claire@a.mssante.fr", "x@c.mssante.fr", "dr@b.mssante.fr"
VIEW = View(
    Coverage(7, entire=True, domains=frozenset({"a.mssante.fr"})),
    frozenset({"a.mssante.fr", "c.mssante.fr"}),
)
SECRET = "secret"


def event(name: str, **facts: Any) -> Event:
    return Event(NOW, name, facts)


def trace(*events: Event, stored: StoredTrace | None = None) -> Trace:
    return Trace(KEY, SearchResult(events, None), stored or StoredTrace())


def accepted(sender: str, *recipients: str, **facts: Any) -> Event:
    return event("accepted", message=KEY, sender=sender, recipients=list(recipients), **facts)


def stored(sender: str, *holders: str, deliveries: tuple[QueuedDelivery, ...] = ()) -> StoredTrace:
    message = Message(KEY, sender, "0" * 64, 10, "", "CN=b", SESSION, NOW)
    held = tuple(MessageHolder(one, one, NOW) for one in holders)
    return StoredTrace("", message, held, deliveries)


def delivery(domain: str) -> QueuedDelivery:
    return QueuedDelivery(1, domain, "waiting", 1, NOW, NOW, SECRET, ())


def narrowed(*events: Event, stored: StoredTrace | None = None) -> Trace:
    found = VIEW.narrow(trace(*events, stored=stored))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "unseen",
    [
        trace(),
        trace(accepted(ABROAD, THEIRS)),
        trace(accepted(THEIRS, ABROAD)),
        trace(event("accepted", message=OTHER, sender=OURS, recipients=[OURS])),
        trace(event("session.opened", session=KEY, address=SECRET)),
        trace(stored=stored(THEIRS, THEIRS, deliveries=(delivery("b.mssante.fr"),))),
        trace(stored=stored("")),
        # A report to another tenant, about the message of a covered domain or not.
        trace(event("report.sent", message=OTHER, report=KEY, to=[THEIRS])),
        # What a peer or an administrator writes is no address of the message.
        trace(event("delivery.attempted", message=KEY, error=OURS)),
        trace(event("queue.held", message=KEY, why=OURS)),
    ],
)
def test_a_message_of_others_is_as_if_unknown(unseen: Trace) -> None:
    assert VIEW.narrow(unseen) is None


def test_mail_to_us_shows_no_other_recipient_and_no_way_out() -> None:
    found = narrowed(
        event("session.opened", session=SESSION, address="192.0.2.1"),
        event("tls.started", session=SESSION, peer="CN=b", more=SECRET),
        event("refused", session=SESSION, reply=f"550 <{THEIRS}> {SECRET}"),
        event("transcript", session=SESSION, lines=[SECRET]),
        accepted(ABROAD, OURS, THEIRS, ABROAD, size=10, session=SESSION, new=SECRET),
        event("delivery.attempted", message=KEY, delivery=1, domain="z.fr", error=SECRET),
        event("queue.dropped", message=KEY, who=SECRET, why=SECRET),
        stored=stored(ABROAD, OURS, THEIRS, deliveries=(delivery("z.fr"),)),
    )
    assert SECRET not in repr(found)
    assert THEIRS not in repr(found)
    names = [one.name for one in found.journal.events]
    assert names == ["session.opened", "tls.started", "accepted"]
    facts = found.journal.events[2].facts
    assert (facts["sender"], facts["recipients"]) == (ABROAD, [OURS])
    assert [one.mailbox for one in found.stored.holders] == [OURS]
    assert found.stored.deliveries == ()


def test_our_mail_shows_its_way_out_but_not_to_other_tenants() -> None:
    submitted = event(
        "submitted", message=KEY, sender=OURS, recipients=[ABROAD, THEIRS], who=SECRET
    )
    found = narrowed(
        submitted,
        event("delivery.attempted", message=KEY, domain="b.mssante.fr", error="450 busy"),
        event("queue.held", message=KEY, delivery=1, who=SECRET, account=SECRET, why=SECRET),
        event("report.sent", message=KEY, report=REPORT, to=[OURS, THEIRS]),
        event("mailbox.closed", message=KEY, reason=SECRET),
        stored=stored(
            OURS, THEIRS, deliveries=(delivery("b.mssante.fr"), delivery("c.mssante.fr"))
        ),
    )
    first, attempt, held, report = found.journal.events
    assert first.facts["recipients"] == [ABROAD]
    assert attempt.facts["error"] == "450 busy"
    assert dict(held.facts) == {"message": KEY, "delivery": 1}
    assert report.facts["to"] == [OURS]
    assert THEIRS not in repr(found)
    assert SECRET not in repr(found.journal)
    assert [one.domain for one in found.stored.deliveries] == ["b.mssante.fr"]
    assert found.stored.holders == ()


def test_a_report_to_us_leads_to_its_message() -> None:
    found = narrowed(event("report.sent", message=OTHER, report=KEY, to=[OURS]))
    assert found.journal.events[0].facts["message"] == OTHER


def test_a_mailbox_of_ours_by_an_alias_of_others_shows_no_alias() -> None:
    message = stored(ABROAD)
    holder = MessageHolder(OURS, THEIRS, NOW)
    found = narrowed(stored=StoredTrace("", message.message, (holder,)))
    assert found.stored.holders == (MessageHolder(OURS, "", NOW),)
