"""Acceptance on both databases: durable before acknowledged; a fault spares the other messages."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from mailstore.blobs.bodies import SMALL
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.messages.messages import get_message, list_entries
from relay.acceptance.group_commit import BUSY, GroupCommitter, Tell, commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient, WithReceipt
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.errors import StoreDeferred
from tests.support.clock import system_clock
from tests.support.delivery.listed import listing
from tests.support.ids import make_id
from tests.support.machines.operators import ACTIVE, make_store
from tests.support.storage.blobs import content, folder
from tests.support.storage.news import told_mailboxes
from tests.support.waiting import until

BOX = SmtpAddress("claire.martin", "a.mssante.fr")
PEER = "CN=smtp.b.mssante.fr,C=FR"


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path, database_url)
    yield store
    store.close()


def submission(
    store: Store,
    body: bytes,
    *,
    mailbox: int = 1,
    remote: dict[str, tuple[SmtpAddress, ...]] | None = None,
) -> AcceptedMessage:
    draft = store.blobs.draft()
    draft.write(body)
    return AcceptedMessage(
        id=make_id(),
        session="s",
        peer=PEER,
        sender=None,
        received_at=system_clock(),
        trace=b"Received: x\r\n",
        draft=draft,
        local=(LocalRecipient(mailbox, BOX),),
        remote=remote or {},
    )


def alone(*messages: AcceptedMessage) -> list[WithReceipt]:
    """Messages without receipts."""
    return [(one, None) for one in messages]


def bodies(store: Store, mailbox: int = 1) -> list[bytes]:
    with store.database.read() as connection:
        found = list_entries(connection, mailbox)
    return [content(store.blobs, entry.message.blob) for entry in found]


def test_rows_and_bodies_of_a_group(store: Store) -> None:
    group = [submission(store, b"%d\r\n" % n) for n in range(5)]
    assert commit(store, alone(*group), system_clock()) == [None] * 5
    assert bodies(store) == [b"%d\r\n" % n for n in range(5)]


def test_local_and_remote_recipients_in_one_transaction(store: Store) -> None:
    other = SmtpAddress("dr", "b.mssante.fr")
    one = submission(store, b"x\r\n", remote={"b.mssante.fr": (other,)})
    assert commit(store, alone(one), system_clock()) == [None]
    with store.database.read() as connection:
        (row,) = listing(connection, 10)
        stored = get_message(connection, one.id)
    assert (row.domain, row.recipients, row.message_id) == ("b.mssante.fr", (str(other),), one.id)
    assert [entry.recipient for entry in stored.entries] == [ACTIVE]


def test_watchers_are_told_of_a_delivery_and_of_no_mail_that_goes_out(store: Store) -> None:
    inside = submission(store, b"x\r\n")
    outside = submission(store, b"x\r\n", remote={"b.mssante.fr": (BOX,)})
    with told_mailboxes(store.database) as delivered:
        commit(store, alone(inside), system_clock())
    with told_mailboxes(store.database) as sent:
        commit(store, alone(replace(outside, local=())), system_clock())
    assert (delivered, sent) == ({1}, set())


@pytest.mark.parametrize("lines", [1, SMALL // 6 + 1], ids=["small", "large"])
def test_equal_bodies_are_stored_once(store: Store, lines: int) -> None:
    for _ in range(2):
        commit(
            store,
            alone(*(submission(store, b"same\r\n" * lines) for _ in range(3))),
            system_clock(),
        )
    files = [p for p in folder(store.blobs).rglob("*") if p.is_file()]
    assert len(files) == (0 if lines == 1 else 1)
    assert len(list(store.blobs.names())) == 1
    assert bodies(store) == [b"same\r\n" * lines] * 6


def test_small_and_large_bodies_in_one_group(store: Store) -> None:
    texts = [b"%06d\r\n" % n * (1 if n % 2 else SMALL) for n in range(6)]
    group = alone(*(submission(store, text) for text in texts))
    assert commit(store, group, system_clock()) == [None] * 6
    assert bodies(store) == texts
    assert len(list(store.blobs.blobs.names())) == 3


def test_one_bad_row_spares_its_neighbours(store: Store) -> None:
    # docs/durability.md: the second message's mailbox was deleted between RCPT and the commit.
    group = [
        submission(store, b"1\r\n"),
        submission(store, b"2\r\n", mailbox=999),
        submission(store, b"3\r\n"),
    ]
    first, second, third = commit(store, alone(*group), system_clock())
    assert first is None
    assert third is None
    assert second is not None
    assert (second.reply.code, second.reply.enhanced) == (451, "4.3.0")
    assert bodies(store) == [b"1\r\n", b"3\r\n"]


def test_one_failed_body_spares_its_neighbours(store: Store) -> None:
    group = [submission(store, b"1\r\n"), submission(store, b"2\r\n"), submission(store, b"3\r\n")]
    group[1].draft.discard()
    results = commit(store, alone(*group), system_clock())
    assert [result is None for result in results] == [True, False, True]
    assert bodies(store) == [b"1\r\n", b"3\r\n"]


async def test_nobody_is_answered_before_the_commit(store: Store) -> None:
    committer = GroupCommitter(store, system_clock)
    seen: list[bytes] = []
    one = submission(store, b"x\r\n")
    await committer.accept(one)
    seen += bodies(store)
    assert seen == [b"x\r\n"]
    await committer.close()


async def test_concurrent_messages_share_groups(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []

    def counting(
        store: Store, group: list[WithReceipt], now: datetime, _record: object, tell: Tell
    ) -> list[StoreDeferred | None]:
        groups.append(len(group))
        return commit(store, group, now, tell=tell)

    monkeypatch.setattr("relay.acceptance.group_commit.commit", counting)
    committer = GroupCommitter(store, system_clock)
    many = [submission(store, b"%d\r\n" % n) for n in range(100)]
    await asyncio.gather(*(committer.accept(one) for one in many))
    await committer.close()
    assert sum(groups) == 100
    assert max(groups) <= 64
    assert len(groups) < 20
    assert sorted(bodies(store)) == sorted(b"%d\r\n" % n for n in range(100))


def watch_groups(monkeypatch: pytest.MonkeyPatch, gather: float) -> list[int]:
    """The sizes of groups from now on; a group waits at most `gather` seconds."""
    groups: list[int] = []

    def noting(
        store: Store, group: list[WithReceipt], now: datetime, _record: object, tell: Tell
    ) -> list[StoreDeferred | None]:
        groups.append(len(group))
        return commit(store, group, now, tell=tell)

    monkeypatch.setattr("relay.acceptance.group_commit.commit", noting)
    monkeypatch.setattr("relay.acceptance.group_commit.GATHER_SECONDS", gather)
    return groups


@pytest.mark.parametrize("sessions", [1, BUSY - 1])
async def test_who_is_not_busy_never_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch, sessions: int
) -> None:
    groups = watch_groups(monkeypatch, gather=600)
    committer = GroupCommitter(store, system_clock)

    async def session(messages: int) -> None:
        for n in range(messages):
            await committer.accept(submission(store, b"%d\r\n" % n))

    async with asyncio.timeout(60):  # a tenth of the time that a gathering group would wait
        await asyncio.gather(*(session(1 + n) for n in range(sessions)))
    await committer.close()
    assert sum(groups) == sum(range(1, sessions + 1)), "each message in one group"
    assert max(groups) <= sessions
    assert set(bodies(store)) == {b"%d\r\n" % n for n in range(sessions)}


async def test_busy_sessions_stay_one_group(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = watch_groups(monkeypatch, gather=600)
    committer = GroupCommitter(store, system_clock)
    arrived = [asyncio.Event() for _ in range(BUSY)]

    async def session(number: int) -> None:
        for n in range(3):
            await committer.accept(submission(store, b"%d %d\r\n" % (number, n)))
            if number == 0:
                await arrived[n].wait()  # its next message is late

    sessions = [asyncio.create_task(session(number)) for number in range(2 * BUSY)]
    for event in arrived[:2]:
        await until(lambda: len(committer._waiting) == 2 * BUSY - 1)
        event.set()
    arrived[2].set()
    await asyncio.gather(*sessions)
    await committer.close()
    assert groups == [2 * BUSY] * 3


async def test_who_does_not_come_back_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = watch_groups(monkeypatch, gather=0.05)
    committer = GroupCommitter(store, system_clock)
    for sessions in (2 * BUSY, BUSY, 1, 1):
        one = [submission(store, b"%d\r\n" % n) for n in range(sessions)]
        await asyncio.gather(*map(committer.accept, one))
    await committer.close()
    assert groups == [2 * BUSY, BUSY, 1, 1]


async def test_a_peer_that_hangs_up_does_not_hurt_the_group(store: Store) -> None:
    committer = GroupCommitter(store, system_clock)
    impatient = asyncio.create_task(committer.accept(submission(store, b"1\r\n")))
    patient = asyncio.create_task(committer.accept(submission(store, b"2\r\n")))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    await committer.close()
    assert sorted(bodies(store)) == [b"1\r\n", b"2\r\n"]


async def test_a_lost_database_defers(store: Store, tmp_path: Path, dialect: str) -> None:
    if dialect == "postgresql":
        broken = Store(store.blobs, Database("postgresql://nobody@127.0.0.1:1/none"))
    else:
        (tmp_path / "empty.db").touch()
        broken = Store(store.blobs, Database(f"sqlite:///{tmp_path / 'empty.db'}"))
    troubles: list[str] = []
    committer = GroupCommitter(broken, system_clock, troubles.append)
    with pytest.raises(StoreDeferred, match=r"451 4\.3\.0"):
        await committer.accept(submission(store, b"x\r\n"))
    await committer.close()
    broken.database.close()
    assert len(troubles) == 1  # no more mail is accepted for the moment


async def test_a_message_at_fault_itself_does_not_stop_the_intake(store: Store) -> None:
    troubles: list[str] = []
    committer = GroupCommitter(store, system_clock, troubles.append)
    one = submission(store, b"x\r\n")
    gone = one.local[0]._replace(mailbox_id=999_999)
    with pytest.raises(StoreDeferred):
        await committer.accept(replace(one, local=(gone,)))
    await committer.close()
    assert troubles == []


def _sent_by(one: AcceptedMessage, local: str) -> AcceptedMessage:
    return replace(one, sender=SmtpAddress(local, "b.mssante.fr"))


@pytest.mark.parametrize("local", ["a\0b", "caf\udce9"], ids=["NUL", "no UTF-8"])
async def test_an_address_that_no_database_holds_spares_its_neighbours(
    store: Store, dialect: str, local: str
) -> None:
    if dialect == "sqlite" and "\0" in local:
        pytest.skip("SQLite holds it")
    await _only_the_second_is_refused(store, local)


_TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF length(new.sender) > 20 THEN RAISE 'not this one' USING ERRCODE = '22P05'; END IF;
    RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE messages ALTER sender TYPE varchar(20)",
        "ALTER TABLE messages ADD CHECK (length(sender) < 20)",
        _TRIGGER,
    ],
    ids=["too long", "checked", "untranslatable"],
)
async def test_data_that_the_database_refuses_spares_its_neighbours(
    store: Store, change: str
) -> None:
    with store.database.write() as connection:
        connection.execute(text(change))
    await _only_the_second_is_refused(store, "a-name-of-more-than-twenty-letters")


async def _only_the_second_is_refused(store: Store, local: str) -> None:
    troubles: list[str] = []
    committer = GroupCommitter(store, system_clock, troubles.append)
    senders = ("one", local, "three")
    group = [
        _sent_by(submission(store, b"%d\r\n" % number), sender)
        for number, sender in enumerate(senders, 1)
    ]
    outcomes = await asyncio.gather(*map(committer.accept, group), return_exceptions=True)
    await committer.close()
    first, second, third = outcomes
    assert first is None
    assert third is None
    assert isinstance(second, StoreDeferred)
    assert str(second.reply) == "451 4.3.0 Mail store refuses this message, try again later"
    assert local not in second.detail
    assert "\n" not in second.detail
    assert bodies(store) == [b"1\r\n", b"3\r\n"]
    assert troubles == []  # all other mail is accepted as before


def test_a_report_is_kept_with_its_message_or_neither(store: Store) -> None:
    # RFC 3461 §5.2.3: the reader of a receipt must be able to rely on the delivery.
    kept, lost = submission(store, b"1\r\n"), submission(store, b"2\r\n")
    reports = [
        replace(
            submission(store, b"report\r\n"),
            local=(),
            sender=None,
            remote={"b.mssante.fr": (parse_address("dr@b.mssante.fr"),)},
        )
        for _ in range(2)
    ]
    gone = lost.local[0]._replace(mailbox_id=999_999)
    group: list[WithReceipt] = [(kept, reports[0]), (replace(lost, local=(gone,)), reports[1])]
    results = commit(store, group, system_clock())
    assert [result is None for result in results] == [True, False]
    with store.database.read() as connection:
        assert [row.message_id for row in listing(connection, 10)] == [reports[0].id]
    assert bodies(store) == [b"1\r\n"]
