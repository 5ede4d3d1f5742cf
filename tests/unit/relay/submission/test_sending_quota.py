"""Limits of a sending mailbox in an hour (DOMAIN U7, 12), on both databases."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event, func, select

from mailstore.audit.event import AuditActor, Door
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.sent_counts import drop_old, limited_by_type, list_sending
from mailstore.messages.messages import list_entries, store_messages
from relay.policy.sending_limits import SendingLimit
from relay.queue.schema import delivery_recipients
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.errors import SmtpError
from relay.submission.local import LocalSubmitter
from relay.submission.sending_quota import RefusalTrail, SendingQuota
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.delivery.listed import listing
from tests.support.delivery.submitters import local_submitter
from tests.support.machines.operators import ACTIVE, NO_REPLY, make_store

SENDER = parse_address("cardiologie@a.mssante.fr")
TEXT = b"From: cardiologie@a.mssante.fr\nSubject: [FIN]\n\nBonjour\n"


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    store = make_store(tmp_path, database_url)
    yield store
    store.close()


@pytest.fixture
def recorded() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def submitter(
    store: Store, tmp_path: Path, recorded: list[tuple[str, dict[str, Any]]]
) -> LocalSubmitter:
    return local_submitter(store, tmp_path, lambda event, **facts: recorded.append((event, facts)))


def to(*addresses: str) -> list[SmtpAddress]:
    return [parse_address(address) for address in addresses]


def limited_to(submitter: LocalSubmitter, messages: int, recipients: int) -> LocalSubmitter:
    return replace(
        submitter, limits={MailboxType.PER: SendingLimit(messages, recipients)}, clock=lambda: NOW
    )


def counts(submitter: LocalSubmitter) -> list[tuple[str, int, int, int]]:
    with submitter.store.database.read() as connection:
        found = list_sending(connection, NOW, 10)
    return [(one.address, one.messages, one.recipients, one.refused) for one in found]


def test_a_person_is_stopped_and_its_refusal_noted(
    submitter: LocalSubmitter, recorded: list[tuple[str, dict[str, object]]]
) -> None:
    limited = limited_to(submitter, 2, 0)
    for _ in range(2):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    recorded.clear()
    with pytest.raises(SmtpError, match=r"^452 4\.5\.3 Sending limit: 2 messages an hour"):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert counts(submitter) == [(str(SENDER), 2, 4, 1)]
    ((event, facts),) = recorded
    assert (event, facts["type"], facts["sender"]) == (*("submission.limited", "PER", str(SENDER)),)
    with submitter.store.database.read() as connection:
        assert len(list_entries(connection, get_mailbox(connection, ACTIVE).id)) == 2
        assert limited_by_type(connection, NOW) == {MailboxType.PER: 1}
        assert limited_by_type(connection, NOW + timedelta(hours=1)) == {MailboxType.PER: 1}
        assert limited_by_type(connection, NOW + timedelta(hours=2)) == {}
    # The next hour has room again.
    later = replace(limited, clock=lambda: NOW + timedelta(hours=1))
    later.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    with submitter.store.database.write() as connection:
        assert drop_old(connection, NOW + timedelta(days=3)) == 2
    assert counts(submitter) == []


def test_recipients_count(submitter: LocalSubmitter) -> None:
    limited = limited_to(submitter, 0, 3)
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    with pytest.raises(SmtpError, match=r"3 recipients an hour .* and 2 are used"):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert counts(submitter) == [(str(SENDER), 2, 3, 1)]


def test_another_process_counts_too(
    submitter: LocalSubmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction of acceptance sees messages that the look at the start did not."""
    limited = limited_to(submitter, 1, 0)
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    monkeypatch.setattr(SendingQuota, "check", lambda _: None)
    with pytest.raises(SmtpError, match="Sending limit"):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    assert counts(submitter) == [(str(SENDER), 1, 1, 1)]
    with submitter.store.database.read() as connection:
        assert len(list_entries(connection, get_mailbox(connection, ACTIVE).id)) == 1
        assert listing(connection, 10) == []


def test_a_program_may(submitter: LocalSubmitter) -> None:
    limited = limited_to(submitter, 1, 1)
    program = TEXT.replace(b"cardiologie", b"noreply-labo")
    for _ in range(3):
        limited.submit(BytesIO(program), parse_address(NO_REPLY), to(ACTIVE))
    assert counts(submitter) == [(NO_REPLY, 3, 3, 0)]


def test_a_message_to_more_than_an_hour_has_is_refused_for_good(submitter: LocalSubmitter) -> None:
    """DOMAIN U7, 12: a client that tried again each hour would never tell its user."""
    limited = limited_to(submitter, 0, 1)
    with pytest.raises(
        SmtpError, match=r"^550 5\.5\.3 .* and this message has 2, send it to fewer"
    ):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
    assert counts(submitter) == [(str(SENDER), 0, 0, 1)]


def test_a_group_repeated_after_a_fault_counts_once(
    submitter: LocalSubmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of a transaction is rolled back with it."""
    faults = [ValueError("a character that cannot be encoded")]

    def once(*given: Any, **named: Any) -> None:
        if faults:
            raise faults.pop()
        store_messages(*given, **named)

    monkeypatch.setattr("relay.acceptance.group_commit.store_messages", once)
    limited_to(submitter, 5, 5).submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert counts(submitter) == [(str(SENDER), 1, 1, 0)]


def test_senders_at_once_do_not_pass_the_limit_together(submitter: LocalSubmitter) -> None:
    """Several connections, as of several processes."""
    limited, refused = limited_to(submitter, 3, 0), []

    def send() -> None:
        try:
            limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE, "dr@b.mssante.fr"))
        except SmtpError as error:
            refused.append(error.reply.code)

    threads = [Thread(target=send) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert refused == [452] * 3
    assert counts(submitter) == [(str(SENDER), 3, 6, 3)]


def test_a_clock_that_was_ahead_leaves_no_alarm(submitter: LocalSubmitter) -> None:
    limited = replace(limited_to(submitter, 1, 0), clock=lambda: NOW + timedelta(days=900))
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    with pytest.raises(SmtpError, match="Sending limit"):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    with submitter.store.database.write() as connection:
        assert limited_by_type(connection, NOW) == {}
        assert drop_old(connection, NOW) == 1


def test_recipients_by_the_thousand_stop_a_person_and_no_program(
    submitter: LocalSubmitter, recorded: list[tuple[str, dict[str, Any]]]
) -> None:
    """DOMAIN U7, 12: stopped at once, by few queries; a program's message is queued."""
    everyone = to(*(f"dr{n}@b.mssante.fr" for n in range(2000)), ACTIVE)
    statements: list[str] = []
    engine = submitter.store.database._reader
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with pytest.raises(SmtpError, match=r"^550 5\.5\.3 "):
        limited_to(submitter, 200, 500).submit(BytesIO(TEXT), SENDER, everyone)
    assert len(statements) < 60
    assert [name for name, _ in recorded] == ["submission.limited"]
    program = TEXT.replace(b"cardiologie", b"noreply-labo")
    sent = limited_to(submitter, 1, 1).submit(BytesIO(program), parse_address(NO_REPLY), everyone)
    assert counts(submitter)[-1] == (NO_REPLY, 1, 2001, 0)
    with submitter.store.database.read() as connection:
        query = select(func.count()).select_from(delivery_recipients)
        assert connection.scalar(query) == len(sent.remote["b.mssante.fr"]) == 2000


def test_one_audit_row_for_a_mailbox_and_an_hour(submitter: LocalSubmitter, tmp_path: Path) -> None:
    """A refusal of an identified actor is in the trail; a thousand of them are one row."""
    actor = AuditActor(account=None, unix_user="root", door=Door.COMMAND)
    trail = RefusalTrail(AuditTrail(audit_keys(tmp_path)), actor)
    limited = replace(limited_to(submitter, 1, 0), refusals=trail)
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert rows(submitter.store.database) == []  # what is sent is no refusal
    for _ in range(3):
        with pytest.raises(SmtpError, match="Sending limit"):
            limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    (row,) = rows(submitter.store.database)
    assert (row["event"], row["result"], row["mailbox"], row["unix_user"], row["tenant_id"]) == (
        *("submission.limited", "refused", str(SENDER), "root", 1),
    )
    facts = json.loads(row["facts"])
    assert (facts["type"], facts["recipients"]) == ("PER", 1)
    assert facts["why"].startswith("Sending limit: 1 messages an hour")
    later = replace(limited, clock=lambda: NOW + timedelta(hours=1))
    later.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    with pytest.raises(SmtpError, match="Sending limit"):
        later.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert len(rows(submitter.store.database)) == 2


def test_a_refusal_without_its_row_is_not_counted(
    submitter: LocalSubmitter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are one transaction, so that the next refusal makes the row."""
    actor = AuditActor(account=None, unix_user="root", door=Door.COMMAND)
    trail = RefusalTrail(AuditTrail(audit_keys(tmp_path)), actor)
    limited = replace(limited_to(submitter, 1, 0), refusals=trail)
    limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))

    def fail(*_: object) -> None:
        raise StoreUnavailable("the trail is full")

    with monkeypatch.context() as patch:
        patch.setattr(AuditTrail, "append", fail)
        with pytest.raises(SmtpError, match="the trail is full"):
            limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert counts(submitter) == [(str(SENDER), 1, 1, 0)]
    with pytest.raises(SmtpError, match="Sending limit"):
        limited.submit(BytesIO(TEXT), SENDER, to(ACTIVE))
    assert len(rows(submitter.store.database)) == 1
