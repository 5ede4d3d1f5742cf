"""Local submission: same admission, same acceptance, only line ends changed."""

from base64 import encodebytes
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import delete

from mailstore.blobs.store import Store
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.sent_counts import list_sending
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import MailboxEntry, get_message, list_entries
from relay.machines.schema import shared_list
from relay.machines.shared_list import ListOffer, publish
from relay.policy.patients import Counted
from relay.policy.sending_limits import SendingLimit
from relay.queue.leases import claim
from relay.queue_admin.hold_rules import HoldScope, add_rule
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.errors import SmtpError
from relay.smtp.parameters import DsnNotify, DsnReturn, MailParameters, RcptParameters
from relay.submission.local import LocalSubmitter
from tests.support.clock import system_clock
from tests.support.delivery.listed import listing
from tests.support.delivery.reports import read_report
from tests.support.delivery.submitters import local_submitter
from tests.support.machines.operators import (
    ACTIVE,
    ALIAS,
    CLOSED,
    NO_REPLY,
    SUSPENDED,
    make_store,
)
from tests.support.machines.perimeters import fall_behind
from tests.support.storage.blobs import content

SENDER = parse_address("cardiologie@a.mssante.fr")
TEXT = b"From: cardiologie@a.mssante.fr\nSubject: [FIN]\n\nBonjour\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path)
    yield store
    store.close()


INS = "279035121518989@patient.mssante.fr"


@pytest.fixture
def recorded() -> list[tuple[str, dict[str, object]]]:
    return []


@pytest.fixture
def submitter(
    store: Store, tmp_path: Path, recorded: list[tuple[str, dict[str, object]]]
) -> LocalSubmitter:
    return local_submitter(store, tmp_path, lambda event, **facts: recorded.append((event, facts)))


def to(*addresses: str) -> list[SmtpAddress]:
    return [parse_address(address) for address in addresses]


def test_local_and_remote(submitter: LocalSubmitter) -> None:
    sent = submitter.submit(
        BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr", "x@c.mssante.fr", "y@c.mssante.fr")
    )
    store = submitter.store
    with store.database.read() as connection:
        (entry,) = list_entries(connection, get_mailbox(connection, ACTIVE).id)
        rows = {row.domain: row.recipients for row in listing(connection, 10)}
        stored = get_message(connection, sent.id)
    assert content(store.blobs, entry.message.blob) == TEXT.replace(b"\n", b"\r\n")
    assert rows == {
        "b.mssante.fr": ("dr@b.mssante.fr",),
        "c.mssante.fr": ("x@c.mssante.fr", "y@c.mssante.fr"),
    }
    assert stored.message.peer == "local"
    assert stored.message.trace.startswith("Received: from smtp.a.mssante.fr")


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        ("x@gmail.com", "550 5.7.1"),  # DOMAIN §9.26
        ("x@unlisted.mssante.fr", "550 5.7.1"),
        ("x@sub.b.mssante.fr", "550 5.7.1"),
        ("nobody@a.mssante.fr", "550 5.1.1"),
        (CLOSED, "550 5.2.1"),
        (SUSPENDED, "450 4.2.1"),
        (NO_REPLY, "550 5.7.1 Nobody reads this mailbox"),  # DOMAIN §9.40
        ("279035121518988@patient.mssante.fr", "553 5.1.3"),  # DOMAIN §9.30
        ("claire.martin@patient.mssante.fr", "553 5.1.3"),
    ],
)
def test_a_recipient_who_may_not_have_it(
    submitter: LocalSubmitter, recipient: str, reply: str
) -> None:
    with pytest.raises(SmtpError, match=f"^{reply}"):
        submitter.submit(BytesIO(TEXT), SENDER, to(ACTIVE, recipient))
    with submitter.store.database.read() as connection:
        assert list_entries(connection, get_mailbox(connection, ACTIVE).id) == []


def test_a_report_reaches_a_mailbox_without_replies_domain_9_40(
    submitter: LocalSubmitter,
) -> None:
    """DOMAIN §9.40: a client sends its MDN under its own address."""
    mdn = b"Content-Type: multipart/report; report-type=disposition-notification\n" + TEXT
    submitter.submit(BytesIO(mdn), SENDER, to(NO_REPLY))
    with submitter.store.database.read() as connection:
        assert len(list_entries(connection, get_mailbox(connection, NO_REPLY).id)) == 1


def test_an_alias_receives_and_never_sends(submitter: LocalSubmitter) -> None:
    submitter.submit(BytesIO(TEXT), SENDER, to(ALIAS, ACTIVE))
    with submitter.store.database.read() as connection:
        (entry,) = list_entries(connection, get_mailbox(connection, ACTIVE).id)
    assert entry.recipient == ALIAS
    with pytest.raises(SmtpError, match=r"^550 5\.7\.1 Sender mailbox is unknown"):
        submitter.submit(BytesIO(TEXT), parse_address(ALIAS), to(ACTIVE))


def test_only_the_newest_list_refuses_a_recipient_for_good(
    submitter: LocalSubmitter, tmp_path: Path
) -> None:
    # At submission too, a list older than another machine's refuses nothing for good.
    database = submitter.store.database
    unknown = to("x@new.mssante.fr")

    def answer() -> str:
        with pytest.raises(SmtpError) as refused:
            submitter.submit(BytesIO(TEXT), SENDER, unknown)
        return str(refused.value)

    assert answer().startswith("550 5.7.1 new.mssante.fr is not on the national white list")
    loaded = submitter.trust_state.snapshot.loaded
    assert loaded is not None
    # In the database already, but not yet in the files of this machine.
    with database.write() as connection:
        newer = ListOffer("0" * 64, loaded.generated_at + timedelta(seconds=1), b"x")
        publish(connection, newer, system_clock())
    assert answer().startswith("451 4.7.1 National white list here may be out of date")
    submitter.submit(BytesIO(TEXT), SENDER, to("dr@b.mssante.fr"))
    # Known here, while the database has another list again.
    with database.write() as connection:
        connection.execute(delete(shared_list))
    assert answer().startswith("550 ")
    fall_behind(submitter.trust_state, tmp_path)
    assert answer().startswith("451 ")


@pytest.mark.parametrize("sender", ["nobody@a.mssante.fr", CLOSED, SUSPENDED, "x@b.mssante.fr"])
def test_a_sender_must_be_an_active_mailbox_here(submitter: LocalSubmitter, sender: str) -> None:
    with pytest.raises(SmtpError, match=r"^550 5\.7\.1"):
        submitter.submit(BytesIO(TEXT), parse_address(sender), to(ACTIVE))


def test_the_author_must_be_ours(submitter: LocalSubmitter) -> None:
    forged = TEXT.replace(b"cardiologie@a.", b"dr@b.")
    with pytest.raises(SmtpError, match=r"^550 5\.7\.1"):
        submitter.submit(BytesIO(forged), SENDER, to(ACTIVE))


@pytest.mark.parametrize(
    ("body", "reply"),
    [(b"x" * 999 + b"\n", "550 5.6.0"), (b"a\0b\n", "550 5.6.0"), (b"a\rb\n", "550 5.6.0"),
     (b"x\n" * 400, "552 5.3.4"), (b"end\r", "550 5.6.0")],
)  # fmt: skip
def test_bad_content(submitter: LocalSubmitter, body: bytes, reply: str) -> None:
    with pytest.raises(SmtpError, match=f"^{reply}"):
        submitter.submit(BytesIO(TEXT + body), SENDER, to(ACTIVE))


def test_crlf_cut_between_reads_stays_one_line_end(
    submitter: LocalSubmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.submission.local._CHUNK", 1)
    text = TEXT.replace(b"\n", b"\r\n")
    sent = submitter.submit(BytesIO(text), SENDER, to(ACTIVE))
    with submitter.store.database.read() as connection:
        blob = get_message(connection, sent.id).message.blob
    assert content(submitter.store.blobs, blob) == text


def body(octets: int) -> BytesIO:
    """A message of `octets` octets once its line ends are CRLF."""
    text = TEXT.replace(b"\n", b"\r\n")
    line = b"x" * 70 + b"\r\n"
    text += line * ((octets - len(text)) // len(line))
    return BytesIO(text[:-2] + b"y" * (octets - len(text)) + b"\r\n")


@pytest.mark.parametrize("patient", [INS, "reponse.automatique-test@patient.mssante.fr"])
def test_to_a_patient_up_to_the_limit(submitter: LocalSubmitter, patient: str) -> None:
    # DOMAIN §7.4, §9.30
    sent = submitter.submit(body(800), SENDER, to(patient, ACTIVE))
    assert sent.draft.size == 800
    assert sent.remote == {"patient.mssante.fr": tuple(to(patient))}


def test_to_a_patient_over_the_limit(submitter: LocalSubmitter) -> None:
    # DOMAIN §7.4: mail that Mon espace santé would return is refused at once, and not sent.
    with pytest.raises(
        SmtpError, match=r"^552 5\.3\.4 .* 800 octets of content to patient\.mssante\.fr"
    ):
        submitter.submit(body(801), SENDER, to(ACTIVE, INS))
    with submitter.store.database.read() as connection:
        assert list_entries(connection, get_mailbox(connection, ACTIVE).id) == []
        assert listing(connection, 10) == []
    assert submitter.submit(body(801), SENDER, to(ACTIVE)).draft.size == 801


SUCCESS = RcptParameters(frozenset({DsnNotify.SUCCESS}), "rfc822;Claire+40a.mssante.fr")


def test_what_is_asked_for_reports_is_queued(submitter: LocalSubmitter) -> None:
    # RFC 3461 §4: as in MAIL and RCPT.
    dr, other = to("dr@b.mssante.fr", "x@b.mssante.fr")
    submitter.submit(
        BytesIO(TEXT),
        SENDER,
        [dr, other],
        parameters=MailParameters(ret=DsnReturn.FULL, envid="Q+2B1"),
        asked={dr: SUCCESS},
    )
    with submitter.store.database.write() as connection:
        (taken,) = claim(
            connection,
            owner="n:1",
            now=system_clock(),
            lease=timedelta(minutes=1),
            limit=1,
            wait=lambda _: timedelta(minutes=1),
        )
    assert (taken.ret, taken.envid) == ("FULL", "Q+2B1")
    assert taken.waiting == (
        EnvelopeRecipient(str(dr), "SUCCESS", SUCCESS.orcpt),
        EnvelopeRecipient(str(other)),
    )


def received(store: Store, address: str) -> list[MailboxEntry]:
    with store.database.read() as connection:
        return list_entries(connection, get_mailbox(connection, address).id)


def test_a_receipt_for_what_is_delivered_here_is_in_the_senders_mailbox(
    submitter: LocalSubmitter,
) -> None:
    # DOMAIN §3.3: the accusé de réception, for our own users too.
    claire, cardio = to(ACTIVE, str(SENDER))
    sent = submitter.submit(
        BytesIO(TEXT),
        SENDER,
        [claire],
        parameters=MailParameters(envid="Q+2B1"),
        asked={claire: SUCCESS},
    )
    store = submitter.store
    assert [one.message.id for one in received(store, ACTIVE)] == [sent.id]
    (entry,) = received(store, str(cardio))
    assert entry.message.sender == ""
    report = read_report(content(store.blobs, entry.message.blob))
    assert report.header["To"] == f"<{SENDER}>"
    assert report.message["Original-Envelope-Id"] == "Q+1"
    assert report.recipients == [
        {
            "Original-Recipient": "rfc822;Claire@a.mssante.fr",
            "Final-Recipient": f"rfc822;{ACTIVE}",
            "Action": "delivered",
            "Status": "2.1.5",
        }
    ]
    with store.database.read() as connection:
        assert listing(connection, 10) == []


def test_nobody_is_told_of_success_unasked(submitter: LocalSubmitter) -> None:
    never = RcptParameters(frozenset({DsnNotify.NEVER}))
    mdn = b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\n"
    (claire,) = to(ACTIVE)
    for body, asked in ((TEXT, {}), (TEXT, {claire: never}), (mdn + TEXT, {claire: SUCCESS})):
        submitter.submit(BytesIO(body), SENDER, [claire], asked=asked)
    assert len(received(submitter.store, ACTIVE)) == 3
    assert received(submitter.store, str(SENDER)) == []


def test_what_a_rule_holds_is_recorded(
    submitter: LocalSubmitter, recorded: list[tuple[str, dict[str, object]]]
) -> None:
    with submitter.store.database.write() as connection:
        scope = HoldScope(domain="b.*")
        add_rule(connection, scope, reason="ticket 4712", author="anne", now=system_clock())
    sent = submitter.submit(BytesIO(TEXT), SENDER, to("dr@b.mssante.fr", "dr@c.mssante.fr"))
    held, submitted = recorded
    assert submitted == (
        "submitted",
        {
            "message": sent.id,
            "session": sent.session,
            "size": sent.draft.size,
            "sender": str(SENDER),
            "recipients": ["dr@b.mssante.fr", "dr@c.mssante.fr"],
            "receipt": "",
            "message_id_digest": "",
            "who": "",
        },
    )
    assert held == (
        "queue.held",
        {
            "message": sent.id,
            "delivery": held[1]["delivery"],
            "domain": "b.mssante.fr",
            "who": "rule",
            "why": "ticket 4712",
        },
    )


def with_base64(octets: int) -> bytes:
    """A message with an attachment of `octets` octets, a third more on the wire."""
    head = "From: cardiologie@a.mssante.fr\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return (head + encodebytes(b"\0" * octets).decode().replace("\n", "\r\n")).encode()


def test_the_limit_for_patients_counts_content(submitter: LocalSubmitter) -> None:
    # DOMAIN §7.4, §7.5: 25 MB of content are some 35 MB on the wire.
    message = with_base64(650)
    assert 800 < len(message) < 1000
    sent = submitter.submit(BytesIO(message), SENDER, to(INS))
    assert sent.draft.size == len(message)
    with pytest.raises(SmtpError, match=r"^552 5\.3\.4 .* 800 octets of content to patient\."):
        submitter.submit(BytesIO(TEXT + b"x\n" * 300), SENDER, to(INS))


def test_or_the_octets_on_the_wire(submitter: LocalSubmitter) -> None:
    wire = replace(submitter.policy, patient_max_counts=Counted.WIRE)
    with pytest.raises(SmtpError, match=r"^552 5\.3\.4 .* 800 octets to patient\."):
        replace(submitter, policy=wire).submit(BytesIO(with_base64(650)), SENDER, to(INS))


def test_a_report_of_ours_may_carry_a_large_message(submitter: LocalSubmitter) -> None:
    # DOMAIN U5: software that could not integrate a message sends it back whole.
    body = b"\n" + b"x\n" * 400
    kind = b"Content-Type: multipart/report\n"
    report = b"From: cardiologie@a.mssante.fr\n" + kind + body
    assert 1000 < submitter.submit(BytesIO(report), SENDER, to(ACTIVE)).draft.size <= 1400
    with pytest.raises(SmtpError, match=r"^552 5\.3\.4 Message over the limit of 1400 octets"):
        submitter.submit(BytesIO(report + b"x\n" * 300), SENDER, to(ACTIVE))
    with pytest.raises(SmtpError, match=r"^552 5\.3\.4 Message over the limit of 1000 octets"):
        submitter.submit(BytesIO(report.replace(kind, b"")), SENDER, to(ACTIVE))


@pytest.mark.parametrize("limited", [True, False])
def test_a_mailbox_that_ends_while_the_message_is_read_gets_it_not(
    submitter: LocalSubmitter, *, limited: bool
) -> None:
    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            with submitter.store.database.write() as connection:
                set_state(connection, ACTIVE, MailboxState.CLOSED)
            return super().read(size)

    limits = {MailboxType.PER: SendingLimit(5, 5)} if limited else {}
    with pytest.raises(SmtpError, match=r"^451 4\.2\.1 A recipient's mailbox was closed meanwhile"):
        replace(submitter, limits=limits).submit(Slow(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    with submitter.store.database.read() as connection:
        assert list_entries(connection, get_mailbox(connection, ACTIVE).id) == []
        assert listing(connection, 10) == []
        assert list_sending(connection, submitter.clock(), 10) == []
