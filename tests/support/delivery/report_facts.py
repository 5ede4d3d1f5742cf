"""Default facts of reports for tests."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from relay.dsn.builder import (
    DELIVERED_STATUS,
    Action,
    Cause,
    ReportedRecipient,
    ReportFacts,
    build_report,
)
from relay.smtp.parameters import DsnReturn
from tests.support.delivery.reports import octets_of

PARIS = timezone(timedelta(hours=1))
CLAIRE = ReportedRecipient(
    "claire.martin@a.mssante.fr", Action.DELIVERED, DELIVERED_STATUS, "rfc822;Claire@a.mssante.fr"
)
FACTS = ReportFacts(
    hostname="smtp.a.mssante.fr",
    message_id="019350000000700080000000000000cc",
    domain="a.mssante.fr",
    to="dr@b.mssante.fr",
    at=datetime(2026, 11, 22, 10, 11, 13, tzinfo=PARIS),
    arrival=datetime(2026, 11, 22, 10, 11, 12, tzinfo=PARIS),
    envid="QQ314159",
    recipients=(CLAIRE,),
    headers=b"From: dr@b.mssante.fr\r\nSubject: x\r\n",
)


def made(facts: ReportFacts) -> bytes:
    return octets_of(build_report(facts))


LOST = ReportedRecipient(
    "paul@b.mssante.fr",
    Action.FAILED,
    "5.1.1",
    "rfc822;Paul@b.mssante.fr",
    diagnostic="550 5.1.1 No such mailbox here",
    cause=Cause.ADDRESS,
    remote="mx1.b.mssante.fr",
    last_attempt=FACTS.at,
)


WHOLE = replace(FACTS, recipients=(LOST,), returned=DsnReturn.FULL)
