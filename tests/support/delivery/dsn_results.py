"""Results of recipients for reports (RFC 3461): delivered, relayed, refused, late, expired."""

from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.dsn.model import ReportFacts
from relay.dsn.rules import (
    Original,
    RecipientResult,
    notice_of,
    report_of,
)
from relay.smtp.address import parse_address
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.outcome import Outcome, State

ARRIVAL = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
NOW = ARRIVAL + timedelta(hours=4)
UNTIL = ARRIVAL + timedelta(days=5)
LETTER = b"From: <dr@a.fr>\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=x\r\n"
ORIGINAL = Original("id0", "dr@a.fr", ARRIVAL, "QQ1", None, 5000, LETTER, smtputf8=False)
PEER = "claire@b.fr"
POSTMASTER = parse_address("admin@a.fr")


def result(
    address: str, state: State, notify: str = "", orcpt: str | None = None, reply: str = "",
    *, dsn: bool = False, **facts: Any,
) -> RecipientResult:  # fmt: skip
    recipient = EnvelopeRecipient(address, notify, orcpt)
    return RecipientResult(recipient, Outcome(state, reply, dsn), **facts)


def changed(one: RecipientResult, **facts: Any) -> RecipientResult:
    """Copy a result with other facts: of the recipient, of the outcome, or its own."""
    parts: dict[str, Any] = {
        "recipient": replace(one.recipient, **_of(one.recipient, facts)),
        "outcome": replace(one.outcome, **_of(one.outcome, facts)),
    }
    return replace(one, **parts, **_of(one, facts))


def _of(one: Any, facts: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields_of(one)}
    return {name: value for name, value in facts.items() if name in names}


DELIVERED = result(PEER, State.DELIVERED, reply="250 2.0.0 Ok")
HANDED_ON = changed(DELIVERED, dsn=True)
HERE = changed(DELIVERED, reply="", here=True)
REFUSED = result(PEER, State.FAILED, reply="550 5.1.1 Nobody")
LATE = result(PEER, State.WAITING, reply="450 4.2.1 Suspended", retry_until=UNTIL)
GIVEN_UP = changed(LATE, retry_until=None)


def told(original: Original, *became: RecipientResult) -> ReportFacts | None:
    return report_of(original, became, hostname="smtp.a.fr", report_id="id1", now=NOW)


def noticed(original: Original, *became: RecipientResult) -> ReportFacts | None:
    return notice_of(
        original, became, hostname="smtp.a.fr", report_id="id1", now=NOW, postmaster=POSTMASTER
    )
