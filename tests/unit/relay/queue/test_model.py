"""Outbound queue on both databases: due mail, leases, outcomes; no delivery is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import insert, select, update

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.messages.messages import Message, NewMessage, store_messages
from relay.queue.attempt_result import attempt_result
from relay.queue.destinations import begin_probe, read_destinations, write_health
from relay.queue.enqueue import enqueue
from relay.queue.leases import claim, lease_without_attempt, release, release_unattempted, renew
from relay.queue.model import Claim, Lease, QueueItem, Traffic, new_token
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries, destinations, hold_rules
from relay.queue.settlement import settle, settle_delivered
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, RcptParameters
from tests.support.delivery.listed import listing

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE = timedelta(minutes=30)
LIFE = timedelta(days=5)
DELIVERED = Outcome(State.DELIVERED, "250 2.0.0 ok")
REFUSED = Outcome(State.FAILED, "550 5.1.1 unknown")
LATER = Outcome(State.WAITING, "450 4.2.1 later")


def put(database: Database, number: int, domain: str, *recipients: str) -> None:
    """Queue one message."""
    message = Message(
        id=f"{number:032x}",
        sender="claire@a.mssante.fr",
        blob="0" * 64,
        size=10,
        trace="Received: x\r\n",
        peer="local",
        session="s",
        received_at=NOW,
    )
    with database.write() as connection:
        store_messages(connection, [NewMessage(message)], now=NOW)
        enqueue(connection, [QueueItem(message.id, domain, recipients, False, NOW)])


def take(
    database: Database, now: datetime = NOW, *, owner: str = "node:1", limit: int = 10
) -> list[Claim]:
    with database.write() as connection:
        return claim(
            connection,
            owner=owner,
            now=now,
            lease=LEASE,
            limit=limit,
            wait=lambda attempts: timedelta(minutes=attempts),
        )


def finish(
    database: Database, done: Claim, outcomes: dict[str, Outcome], now: datetime = NOW
) -> State | None:
    policy = RetryPolicy(life=LIFE)
    result = attempt_result(done, outcomes, error="why", reason=None, now=now, policy=policy)
    with database.write() as connection:
        return settle(connection, result)


def other_lease(taken: Claim) -> Lease:
    """Return another lease of the same number."""
    return Lease(taken.id, new_token())


def test_what_is_queued_is_due_at_once_and_comes_whole(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr")
    (taken,) = take(database)
    assert taken.recipients == ("x@b.mssante.fr", "y@b.mssante.fr")
    assert (taken.sender, taken.domain, taken.size) == ("claire@a.mssante.fr", "b.mssante.fr", 10)
    assert taken.attempts == 1


def test_each_delivery_is_leased_to_one_owner_only(database: Database) -> None:
    for number in range(20):
        put(database, number, "b.mssante.fr", "x@b.mssante.fr")
    ready, found = Barrier(2), dict[str, list[int]]()

    def work(owner: str) -> None:
        ready.wait()
        found[owner] = [c.id for _ in range(5) for c in take(database, owner=owner, limit=3)]

    threads = [Thread(target=work, args=(f"node:{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = found["node:0"] + found["node:1"]
    assert len(both) == len(set(both))
    assert len(both) + len(take(database, limit=100)) == 20


def test_a_lapsed_lease_is_taken_over_and_the_late_result_is_dropped(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (first,) = take(database, owner="node:1")
    assert take(database, NOW + timedelta(minutes=29), owner="node:2") == []
    later = NOW + timedelta(minutes=31)
    (second,) = take(database, later, owner="node:2")
    assert second.attempts == 2
    assert finish(database, first, {"x@b.mssante.fr": LATER}, later) is None
    assert finish(database, second, {"x@b.mssante.fr": DELIVERED}, later) is State.DELIVERED


def test_the_attempt_counts_before_it_is_made(database: Database) -> None:
    # A crash during the attempt leaves the row with the time of the next attempt
    # (docs/durability.md).
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    take(database)
    with database.read() as connection:
        (row,) = listing(connection, 10)
    assert (row.attempts, row.due) == (1, NOW + timedelta(minutes=1))


def test_delivered_leaves_the_queue(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    assert finish(database, taken, {"x@b.mssante.fr": DELIVERED}) is State.DELIVERED
    with database.read() as connection:
        assert listing(connection, 10) == []


def test_only_those_who_wait_are_tried_again(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr", "z@b.mssante.fr")
    (taken,) = take(database)
    outcomes = {"x@b.mssante.fr": DELIVERED, "y@b.mssante.fr": LATER, "z@b.mssante.fr": REFUSED}
    assert finish(database, taken, outcomes) is State.WAITING
    assert take(database, NOW + timedelta(seconds=59)) == []
    (again,) = take(database, NOW + timedelta(minutes=1))
    assert again.recipients == ("y@b.mssante.fr",)
    assert finish(database, again, {"y@b.mssante.fr": DELIVERED}) is State.FAILED


def test_what_a_peer_refuses_for_good_stays_visible(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr")
    (taken,) = take(database)
    outcomes = {"x@b.mssante.fr": DELIVERED, "y@b.mssante.fr": REFUSED}
    assert finish(database, taken, outcomes) is State.FAILED
    with database.read() as connection:
        (row,) = listing(connection, 10)
    assert (row.state, row.recipients, row.last_error) == ("failed", ("y@b.mssante.fr",), "why")
    assert take(database, NOW + LIFE) == []


def test_the_end_of_life_fails_but_never_drops(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    assert finish(database, taken, {}, NOW + LIFE) is State.FAILED
    with database.read() as connection:
        assert [row.recipients for row in listing(connection, 10)] == [("x@b.mssante.fr",)]


def test_a_restart_frees_the_leases_of_its_own_node_only(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    put(database, 2, "b.mssante.fr", "x@b.mssante.fr")
    take(database, owner="node:1", limit=1)
    take(database, owner="node2:1", limit=1)
    with database.write() as connection:
        assert release(connection, "node", NOW) == 1
    assert [taken.message_id[-1] for taken in take(database)] == ["1"]


@pytest.mark.parametrize("count", [1, 300])
def test_many_items_keep_their_own_recipients(database: Database, count: int) -> None:
    # Rows are inserted in bulk: their generated keys must match the right recipients.
    message = Message("f" * 32, "", "0" * 64, 1, "", "local", "s", NOW)
    items = [
        QueueItem(message.id, f"d{n}.mssante.fr", (f"x@d{n}.mssante.fr",), False, NOW)
        for n in range(count)
    ]
    with database.write() as connection:
        store_messages(connection, [NewMessage(message)], now=NOW)
        enqueue(connection, items)
    taken = take(database, limit=1000)
    assert len(taken) == count
    assert all(c.recipients == (f"x@{c.domain}",) for c in taken)


def test_what_was_asked_for_reaches_the_attempt(database: Database) -> None:
    message = Message("e" * 32, "labo@a.mssante.fr", "0" * 64, 1, "", "local", "s", NOW)
    item = QueueItem(
        message.id,
        "b.mssante.fr",
        ("x@b.mssante.fr", "y@b.mssante.fr"),
        smtputf8=False,
        created_at=NOW,
        sender="labo@a.mssante.fr",
        mailbox_type=MailboxType.APP,
        envid="e+2B1",
        ret="HDRS",
        asked={
            "x@b.mssante.fr": RcptParameters(
                frozenset({DsnNotify.SUCCESS, DsnNotify.DELAY}), "rfc822;x@b.mssante.fr"
            )
        },
    )
    with database.write() as connection:
        store_messages(connection, [NewMessage(message)], now=NOW)
        enqueue(connection, [item])
    (taken,) = take(database)
    assert taken.waiting == (
        EnvelopeRecipient("x@b.mssante.fr", "DELAY,SUCCESS", "rfc822;x@b.mssante.fr"),
        EnvelopeRecipient("y@b.mssante.fr"),
    )
    assert (taken.envid, taken.ret, taken.mailbox_type) == ("e+2B1", "HDRS", "APP")
    assert (taken.traffic, taken.delay_told) == (Traffic.BULK, False)


def test_new_mail_that_a_rule_names_is_held_and_never_claimed(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            insert(hold_rules).values(domain="B.*", reason="works", author="root", created_at=NOW)
        )
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    put(database, 2, "c.mssante.fr", "x@c.mssante.fr")
    assert [taken.domain for taken in take(database)] == ["c.mssante.fr"]
    with database.write() as connection:
        assert connection.scalars(select(deliveries.c.held).order_by(deliveries.c.id)).all() == [
            "works",
            None,
        ]
        connection.execute(update(deliveries).values(held=None))
    assert [taken.domain for taken in take(database)] == ["b.mssante.fr"]


@pytest.mark.parametrize(
    ("row", "domains"),
    [
        ({"domain": "b.mssante.fr", "paused": "works"}, ["c.mssante.fr"]),
        ({"domain": "*", "paused": "works"}, []),
        ({"domain": "b.mssante.fr", "dead_until": NOW + LEASE}, ["c.mssante.fr"]),
        ({"domain": "b.mssante.fr", "dead_until": NOW}, ["b.mssante.fr", "c.mssante.fr"]),
        ({"domain": "b.mssante.fr"}, ["b.mssante.fr", "c.mssante.fr"]),
    ],
)
def test_paused_and_dead_destinations_are_left_alone(
    database: Database, row: dict[str, object], domains: list[str]
) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    put(database, 2, "c.mssante.fr", "x@c.mssante.fr")
    with database.write() as connection:
        connection.execute(insert(destinations).values(**row))
    assert [taken.domain for taken in take(database)] == domains


def test_the_probe_of_a_dead_destination_is_given_once(database: Database) -> None:
    with database.write() as connection:
        write_health(connection, "b.mssante.fr", failures=1, dead_until=NOW, last_error="down")
    with database.write() as connection:
        until = NOW + timedelta(minutes=2)
        assert begin_probe(connection, "b.mssante.fr", NOW, until)
        assert not begin_probe(connection, "b.mssante.fr", NOW, until)
    with database.read() as connection:
        known = read_destinations(connection).by_domain["b.mssante.fr"]
    assert (known.failures, known.dead_until, known.paused) == (1, until, False)


@pytest.mark.parametrize(
    ("probe_age", "known"),
    [
        (timedelta(minutes=59), (4, NOW + timedelta(minutes=2))),
        (timedelta(hours=1), (0, None)),
        (timedelta(days=60), (0, None)),
    ],
)
def test_a_death_that_nobody_probed_for_long_is_forgotten(
    database: Database, probe_age: timedelta, known: tuple[int, datetime | None]
) -> None:
    # The machine was off, or its clock jumped: the next delivery is an attempt, not a probe.
    with database.write() as connection:
        dead_until = NOW - probe_age
        write_health(
            connection, "b.mssante.fr", failures=4, dead_until=dead_until, last_error="down"
        )
    with database.write() as connection:
        assert begin_probe(connection, "b.mssante.fr", NOW, NOW + timedelta(minutes=2))
    with database.read() as connection:
        found = read_destinations(connection).by_domain["b.mssante.fr"]
    assert (found.failures, found.dead_until) == known


def test_leases_are_renewed_by_their_tokens_alone(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    later = NOW + LEASE
    with database.write() as connection:
        assert renew(connection, [other_lease(taken)], now=later, lease=LEASE) == set()
        assert renew(connection, [taken.lease], now=later, lease=LEASE) == {taken.lease}
    with database.write() as connection:
        assert (
            lease_without_attempt(connection, [taken.id], owner="node:2", now=later, lease=LEASE)
            == []
        )
    with database.write() as connection:
        over = later + LEASE
        (again,) = lease_without_attempt(
            connection, [taken.id], owner="node:1", now=over, lease=LEASE
        )
        assert renew(connection, [taken.lease, again.lease], now=over, lease=LEASE) == {again.lease}


def test_who_was_told_of_a_delay_is_remembered(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    assert finish(database, taken, {}, NOW + RetryPolicy().delay_warning) is State.WAITING
    (again,) = take(database, NOW + timedelta(minutes=1))
    assert (again.delay_told, again.last_error) == (True, "why")


def test_a_recipient_that_failed_before_keeps_its_delivery_visible(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr")
    (first,) = take(database)
    assert finish(database, first, {"x@b.mssante.fr": REFUSED}) is State.WAITING
    (again,) = take(database, NOW + timedelta(hours=1))
    assert again.recipients == ("y@b.mssante.fr",)
    assert finish(database, again, {"y@b.mssante.fr": DELIVERED}) is State.FAILED
    with database.read() as connection:
        assert [row.state for row in listing(connection, 10)] == ["failed"]


def test_a_recipient_that_the_claim_lacks_is_never_taken_for_delivered(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr")
    (taken,) = take(database)
    blind = replace(taken, waiting=taken.waiting[:1])
    assert finish(database, blind, {"x@b.mssante.fr": DELIVERED}) is State.WAITING
    (again,) = take(database, NOW + timedelta(hours=1))
    assert again.recipients == ("y@b.mssante.fr",)


def test_what_arrived_leaves_together_but_for_what_is_to_be_seen(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr", "y@b.mssante.fr")
    put(database, 2, "c.mssante.fr", "x@c.mssante.fr")
    put(database, 3, "d.mssante.fr", "x@d.mssante.fr", "gone@d.mssante.fr")
    put(database, 4, "e.mssante.fr", "x@e.mssante.fr")
    first = {one.domain[0]: one for one in take(database)}
    finish(database, first["d"], {"gone@d.mssante.fr": REFUSED})
    later = NOW + timedelta(hours=1)
    again = {one.domain[0]: one for one in take(database, later, owner="node:2")}
    assert again.keys() == {"b", "c", "d", "e"}
    with database.write() as connection:
        connection.execute(
            update(deliveries).where(deliveries.c.id == again["e"].id).values(lease_owner="other:1")
        )
        out = settle_delivered(connection, list(again.values()), "node:2")
    assert out == {again["b"].lease, again["c"].lease}
    with database.read() as connection:
        assert {row.domain[0] for row in listing(connection, 10)} == {"d", "e"}


def test_a_lease_keeps_others_away_though_the_next_attempt_is_due(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    assert take(database, NOW + LEASE - timedelta(seconds=1), owner="node:2") == []
    (again,) = take(database, NOW + LEASE, owner="node:2")
    assert (again.id, again.attempts) == (taken.id, 2)


def test_a_result_counts_for_its_own_message_alone(database: Database) -> None:
    # After a fail-over the number may belong to another delivery.  The token is the other
    # safeguard.
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    other = replace(taken, message_id="f" * 32)
    assert finish(database, other, {"x@b.mssante.fr": DELIVERED}) is None
    with database.write() as connection:
        assert settle_delivered(connection, [other], "node:1") == set()
    assert finish(database, taken, {"x@b.mssante.fr": DELIVERED}) is State.DELIVERED


def test_nothing_is_settled_where_nothing_is_ours(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    with database.write() as connection:
        assert settle_delivered(connection, [taken], "other:1") == set()


def test_a_lease_that_was_not_used_counts_for_nothing(database: Database) -> None:
    put(database, 1, "b.mssante.fr", "x@b.mssante.fr")
    (taken,) = take(database)
    for lease, found in ((other_lease(taken), 0), (taken.lease, 1)):
        with database.write() as connection:
            release_unattempted(connection, [lease], now=NOW)
        assert len(again := take(database)) == found
    assert again[0].attempts == 1
