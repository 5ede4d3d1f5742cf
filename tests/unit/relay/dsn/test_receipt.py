"""DSNs as messages: streamed into a draft, with the flags needed to send them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailstore.errors import StoreUnavailable
from mailstore.messages.messages import list_entries
from mailstore.sealed.draft import Draft
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.dsn.model import Action, ReportedRecipient, ReportFacts
from relay.dsn.receipt import as_message, receipt_of
from relay.dsn.rules import Original, RecipientResult, report_of
from relay.smtp.address import parse_address
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.errors import SyntaxRefused
from relay.smtp.headers import HeaderCollector
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, DsnReturn, RcptParameters
from tests.support.delivery.reports import read_report
from tests.support.ids import make_id
from tests.support.machines.operators import ACTIVE, make_store
from tests.support.storage.blobs import content as stored

NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
FACTS = ReportFacts(
    hostname="smtp.a.fr",
    message_id="id1",
    domain="a.fr",
    to="dr@a.fr",
    at=NOW,
    arrival=NOW,
    envid=None,
    recipients=(ReportedRecipient("x@b.fr", Action.FAILED, "5.1.1", None, "550 5.1.1 No"),),
    headers=b"Subject: x\r\n",
)
MDN = b"Content-Type: multipart/report; report-type=disposition-notification\r\n"


def content(draft: Draft) -> bytes:
    return b"".join(draft.chunks())


class Unread:
    def __iter__(self) -> Iterator[bytes]:
        pytest.fail("the message was read")


def test_the_message_is_streamed_between_opening_and_closing(tmp_path: Path) -> None:
    draft, alive = Draft(tmp_path), []

    def message() -> Iterator[bytes]:
        for number in range(40):
            alive.append(draft.spilled)
            yield (b"%04d " % number + b"x" * 990 + b"\r\n") * 100

    report = as_message(
        replace(FACTS, returned=DsnReturn.FULL),
        draft,
        session="s",
        mailbox_id=7,
        original=message(),
    )
    assert alive[-1]  # most chunks were freed before the end
    assert draft.size > 40 * 99_000
    read = read_report(content(report.draft))
    assert read.original_type == "message/rfc822"
    assert read.original.startswith(b"0000 xxx")
    assert len(read.original) == 40 * 99_700
    assert report.local == (LocalRecipient(7, parse_address("dr@a.fr")),)
    assert report.remote == {}
    assert (report.id, report.session, report.peer, report.sender) == ("id1", "s", "local", None)
    assert (report.parameters.eight_bit, report.parameters.smtputf8) == (True, False)
    draft.discard()


def test_a_message_that_does_not_go_back_is_not_read(tmp_path: Path) -> None:
    report = as_message(FACTS, Draft(tmp_path), session="s", original=Unread())
    assert read_report(content(report.draft)).original == b"Subject: x\r\n"
    assert report.remote == {"a.fr": (parse_address("dr@a.fr"),)}
    assert report.local == ()
    assert (report.parameters.eight_bit, report.parameters.smtputf8) == (False, False)
    report.draft.discard()


@pytest.mark.parametrize(
    ("facts", "eight_bit", "smtputf8"),
    [
        (replace(FACTS, returned=DsnReturn.FULL, eight_bit=False), False, False),
        (replace(FACTS, returned=DsnReturn.FULL), True, False),
        (replace(FACTS, returned=DsnReturn.FULL, smtputf8=True), True, True),
        (replace(FACTS, smtputf8=True), False, False),
        (replace(FACTS, smtputf8=True, headers="Subject: é\r\n".encode()), True, True),
        (replace(FACTS, headers="Subject: é\r\n".encode()), False, False),
        (replace(FACTS, smtputf8=True, to="hélène@a.fr"), True, True),
    ],
)
def test_it_says_what_it_takes_to_send_it(
    tmp_path: Path, facts: ReportFacts, eight_bit: bool, smtputf8: bool
) -> None:
    report = as_message(facts, Draft(tmp_path), session="s", original=[b"Subject: x\r\n\r\nx"])
    assert (report.parameters.eight_bit, report.parameters.smtputf8) == (eight_bit, smtputf8)
    read_report(content(report.draft))
    report.draft.discard()


def broken() -> Iterator[bytes]:
    yield b"x" * 600_000
    raise StoreUnavailable("the disk is gone")


def test_nothing_is_left_of_a_report_that_could_not_be_written(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    with pytest.raises(StoreUnavailable):
        as_message(replace(FACTS, returned=DsnReturn.FULL), draft, session="s", original=broken())
    assert draft.ended
    assert list(tmp_path.iterdir()) == []
    refused = Draft(tmp_path)
    with pytest.raises(SyntaxRefused):
        as_message(replace(FACTS, to=""), refused, session="s")
    assert refused.ended


def submission(
    tmp_path: Path, sender: str | None, *notify: frozenset[DsnNotify] | None
) -> AcceptedMessage:
    return AcceptedMessage(
        id="id0",
        session="s",
        peer="CN=smtp.b.fr",
        sender=parse_address(sender) if sender else None,
        received_at=NOW,
        trace=b"",
        draft=Draft(tmp_path),
        local=tuple(
            LocalRecipient(number, parse_address(f"r{number}@a.fr"), RcptParameters(asked))
            for number, asked in enumerate(notify)
        ),
    )


def receipt_for(
    tmp_path: Path, message: AcceptedMessage, header: bytes = b""
) -> AcceptedMessage | None:
    return receipt_of(message, header, "smtp.a.fr", NOW, lambda: "id1", lambda: Draft(tmp_path))


def test_a_receipt_tells_of_those_who_were_asked_about(tmp_path: Path) -> None:
    asked = frozenset({DsnNotify.SUCCESS})
    message = submission(tmp_path, "dr@b.fr", None, asked, frozenset({DsnNotify.NEVER}), asked)
    report = receipt_for(tmp_path, message, b"Subject: x\r\n")
    assert report is not None
    read = read_report(content(report.draft))
    assert [(r["Final-Recipient"], r["Action"], r["Status"]) for r in read.recipients] == [
        ("rfc822;r1@a.fr", "delivered", "2.1.5"),
        ("rfc822;r3@a.fr", "delivered", "2.1.5"),
    ]
    assert read.header["From"] == "<postmaster@a.fr>"
    assert report.remote == {"b.fr": (parse_address("dr@b.fr"),)}
    report.draft.discard()


def test_no_receipt_for_what_answers_itself(tmp_path: Path) -> None:
    asked = frozenset({DsnNotify.SUCCESS})
    assert receipt_for(tmp_path, submission(tmp_path, None, asked)) is None
    assert receipt_for(tmp_path, submission(tmp_path, "dr@b.fr", asked), MDN) is None
    assert receipt_for(tmp_path, submission(tmp_path, "dr@b.fr", None)) is None


def test_a_failure_comes_back_to_the_mailbox_with_the_message_from_the_store(
    tmp_path: Path, database_url: str
) -> None:
    store = make_store(tmp_path, database_url)
    sender, to = parse_address(ACTIVE), parse_address("paul@b.mssante.fr")
    letter = b"From: <claire.martin@a.mssante.fr>\r\n\r\n" + b"caf\xc3\xa9\r\n" * 100_000
    draft = store.blobs.draft()
    draft.write(letter)
    message = replace(
        submission(tmp_path, ACTIVE), id=make_id(), draft=draft, remote={to.domain: (to,)}
    )
    blob = draft.blob
    assert commit(store, [(message, None)], NOW) == [None]
    collector = HeaderCollector()
    with store.blobs.open(blob) as body:
        collector.feed(body.read(4096))
    facts = report_of(
        Original(
            *(message.id, ACTIVE, NOW, None, "FULL", len(letter), collector.section),
            smtputf8=False,
        ),
        [
            RecipientResult(
                EnvelopeRecipient(str(to)), Outcome(State.FAILED, "550 5.1.1 No such mailbox here")
            )
        ],
        hostname="smtp.a.mssante.fr",
        report_id=make_id(),
        now=NOW,
    )
    assert facts is not None
    with store.blobs.open(blob) as body:
        report = as_message(
            facts,
            store.blobs.draft(),
            session="s",
            mailbox_id=1,
            original=iter(lambda: body.read(65_536), b""),
        )
    assert commit(store, [(report, None)], NOW) == [None]
    with store.database.read() as connection:
        (entry,) = list_entries(connection, 1)
    assert (entry.message.id, entry.message.sender) == (facts.message_id, "")
    assert entry.recipient == str(sender)
    read = read_report(stored(store.blobs, entry.message.blob))
    assert read.original == letter
    assert read.recipients[0]["Status"] == "5.1.1"
    assert read.header["From"] == "<postmaster@a.mssante.fr>"
    store.close()
