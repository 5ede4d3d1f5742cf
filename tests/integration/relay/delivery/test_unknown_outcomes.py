"""A message sent to its end without a usable reply is not sent again and again.

RFC 5321 §4.5.3.2.6 and §6.1: each attempt may deliver a duplicate.  It has a backoff of its own,
and ends with a DSN that says that the message may have arrived.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from mailstore.db.database import Database
from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown
from relay.delivery.in_flight import ANSWER, DeliveryAttempt, Progress
from relay.queue.attempt_result import attempt_result
from relay.queue.retry import RetryPolicy
from relay.queue.schema import delivery_recipients
from relay.queue_admin.actions import RetryAction
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW, system_clock
from tests.support.delivery.claims import CLAIM
from tests.support.delivery.delivery_store import CLAIRE, RETRY, DeliveryStore
from tests.support.delivery.handing import CHUNKING, Handing, Replies, context_of, message_maker
from tests.support.delivery.queued import perform, rows
from tests.support.delivery.senders import sending
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import CLOSE, GOOD, OFFERS, ScriptedPeer, running

MINUTE = timedelta(minutes=1)
WAITS = (15 * MINUTE, 60 * MINUTE, 240 * MINUTE)
ERROR = "smtp.b.mssante.fr: unknown-outcome: no reply within 600 s"


def test_it_waits_longer_each_time_and_then_its_sender_is_told(
    delivery_store: DeliveryStore,
) -> None:
    (taken,) = (delivery_store.send(),)
    now = NOW
    for wait in WAITS:
        done = attempt_result(
            taken, {}, error=ERROR, reason=FailureReason.UNKNOWN_OUTCOME, now=now, policy=RETRY
        )
        assert delivery_store.settle(done) is State.WAITING
        (row,) = rows(delivery_store.store.database).values()
        assert row.due == now + wait
        assert delivery_store.take(row.due - timedelta(seconds=1)) == []
        now = row.due
        (taken,) = delivery_store.take(now)
    assert taken.unknown_outcomes == len(WAITS)
    done = attempt_result(
        taken, {}, error=ERROR, reason=FailureReason.UNKNOWN_OUTCOME, now=now, policy=RETRY
    )
    assert delivery_store.settle(done) is State.FAILED
    *_, report = delivery_store.mail(CLAIRE)  # the delay report comes first
    (about,) = report.recipients
    assert (about["Action"], about["Status"]) == ("failed", "5.4.2")
    assert "sans confirmer qu'il l'a accepté" in report.words
    assert "Ask the recipient whether it is there before you send it again." in report.words
    # An operator may retry it from the start.
    perform(delivery_store.store.database, RetryAction(revive=True))
    (row,) = rows(delivery_store.store.database).values()
    assert (row.state, row.unknown_outcomes) == ("waiting", 0)


def test_other_attempts_neither_count_nor_move_it(delivery_store: DeliveryStore) -> None:
    taken = delivery_store.send()
    (before,) = rows(delivery_store.store.database).values()
    done = attempt_result(
        taken, {}, error="down", reason=FailureReason.CONNECTION, now=NOW, policy=RETRY
    )
    assert delivery_store.settle(done) is State.WAITING
    (row,) = rows(delivery_store.store.database).values()
    assert (row.due, row.unknown_outcomes) == (before.due, 0)


def test_jitter_keeps_those_of_one_moment_apart(delivery_store: DeliveryStore) -> None:
    done = attempt_result(
        delivery_store.send(),
        {},
        error=ERROR,
        reason=FailureReason.UNKNOWN_OUTCOME,
        now=NOW,
        policy=RETRY,
        jitter=0.5,
    )
    assert done.unknown_until == NOW + 15 * MINUTE * 1.1


def test_those_who_have_an_answer_keep_it() -> None:
    x, y, z = (EnvelopeRecipient(f"{one}@b") for one in "xyz")
    claim = replace(CLAIM, waiting=(x, y, z), unknown_outcomes=3)
    outcomes = {
        "x@b": Outcome(State.DELIVERED, "250 ok"),
        "y@b": Outcome(State.WAITING, "452 full"),
        "z@b": Outcome(State.WAITING, ERROR, unknown=True),
    }
    found = attempt_result(
        claim,
        outcomes,
        error=ERROR,
        reason=FailureReason.UNKNOWN_OUTCOME,
        now=NOW,
        policy=RetryPolicy(),
    )
    assert (found.delivered, found.failed) == ((x,), (z,))
    assert found.outcomes["y@b"].state is State.WAITING
    assert found.outcomes["z@b"].reply == ERROR


@pytest.mark.parametrize(
    ("phase", "reason"), [(ANSWER, FailureReason.UNKNOWN_OUTCOME), ("message", FailureReason.STUCK)]
)
def test_what_is_broken_off_after_its_end_is_such_a_one(phase: str, reason: FailureReason) -> None:
    assert (
        DeliveryAttempt(CLAIM, Progress("s", phase), abort_reason=FailureReason.STUCK).reason
        == reason
    )


A, B, C, D = (f"{name}@a.mssante.fr" for name in "abcd")
LATER, NEVER, FULL = "450 4.2.1 later", "550 5.1.1 nobody", "452 4.5.3 too many"


def told(answers: Mapping[str, Outcome]) -> dict[str, tuple[str, bool]]:
    return {address: (one.state.value, one.unknown) for address, one in answers.items()}


@pytest.mark.parametrize("offers", [OFFERS, CHUNKING], ids=["data", "bdat"])
async def test_only_those_whom_the_peer_took_are_unknown(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    replies: Replies = {"RCPT": (GOOD, LATER, NEVER, FULL), ".": CLOSE}
    peer = replace(scripted, replies=replies, offers=offers)
    async with running(peer) as server, ours.peers() as peers:
        with pytest.raises(OutcomeUnknown) as failed:
            await peers.hand_over(
                "a.mssante.fr",
                [Target(HOST, server.port)],
                message_maker(A, B, C, D, "\u00e9@a.mssante.fr"),
            )
    assert told(failed.value.outcomes) == {
        A: ("waiting", True),
        B: ("waiting", False),
        C: ("failed", False),
        D: ("waiting", False),
        "\u00e9@a.mssante.fr": ("failed", False),  # not sent in RCPT
    }
    assert failed.value.outcomes[C].reply == NEVER


async def test_in_a_rest_too(ours: Handing, scripted: ScriptedPeer) -> None:
    replies = {"RCPT": (GOOD, FULL, FULL, FULL, GOOD, LATER, NEVER), ".": (GOOD, CLOSE)}
    async with running(replace(scripted, replies=replies)) as server, ours.peers() as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], message_maker(A, B, C, D)
        )
        assert server.connections == 1
    assert told(found) == {
        A: ("delivered", False),
        B: ("waiting", True),
        C: ("waiting", False),
        D: ("failed", False),
    }


async def test_the_others_neither_wait_for_it_nor_end_with_it(tmp_path: Path) -> None:
    # A deferred recipient has no copy; a refused recipient is reported at once.
    max_tries = RetryPolicy().unknown_max_tries
    replies: Replies = {"RCPT": (GOOD, LATER, NEVER, *(GOOD, LATER) * max_tries), ".": CLOSE}
    with sending(tmp_path / "b") as sender:
        async with running(ScriptedPeer(context_of("a", tmp_path), replies)) as peer:
            sender.queue(A, B, C)
            found = []
            for number in range(1, max_tries + 1):
                await sender.deliver(peer.port, attempts=number)
                found.append(states(sender.store.database))
                sender.retry()
        reasons = {one["reason"] for one in sender.attempts()}
    assert found == [{A: "waiting", B: "waiting", C: "failed"}] * (max_tries - 1) + [
        {A: "failed", B: "waiting", C: "failed"}
    ]
    assert reasons == {FailureReason.UNKNOWN_OUTCOME}


def states(database: Database) -> dict[str, str]:
    r = delivery_recipients.c
    with database.read() as connection:
        return {row.address: row.state for row in connection.execute(select(r.address, r.state))}


async def test_a_rest_whose_outcome_is_unknown_is_known_as_such(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    # Recipients left over by the first transaction get their own transaction.
    replies = {"RCPT": (GOOD, "452 4.5.3 too many"), ".": (GOOD, CLOSE)}
    async with running(replace(scripted, replies=replies)) as server, ours.peers() as peers:
        found = await peers.hand_over(
            "a.mssante.fr",
            [Target(HOST, server.port)],
            message_maker("a@a.mssante.fr", "b@a.mssante.fr"),
        )
    assert found["a@a.mssante.fr"] == Outcome(State.DELIVERED, "250 2.0.0 taken", dsn=False)
    assert found["b@a.mssante.fr"].unknown


async def test_a_peer_that_never_confirms_gets_so_many_copies(tmp_path: Path) -> None:
    context = context_of("a", tmp_path)
    max_tries = RetryPolicy().unknown_max_tries
    with sending(tmp_path / "b") as sender:
        async with running(ScriptedPeer(context, {".": CLOSE})) as peer:
            sender.queue("x@a.mssante.fr")
            for number in range(1, max_tries + 1):
                begun = system_clock()
                await sender.deliver(peer.port, attempts=number)
                (row,) = sender.queued()
                if number < max_tries:
                    assert row.state == "waiting"
                    assert row.due >= begun + WAITS[number - 1]
                sender.retry()
            assert len(peer.messages) == max_tries
            (row,) = sender.queued()
            assert row.state == "failed"
            await sender.deliver(peer.port)
            assert len(peer.messages) == max_tries
        reasons = [(one["reason"], one["state"]) for one in sender.attempts()]
    assert reasons == [("unknown-outcome", "waiting")] * (max_tries - 1) + [
        ("unknown-outcome", "failed")
    ]


@pytest.mark.parametrize(
    ("reply", "state", "waits"),
    [(CLOSE, "waiting", WAITS[0]), ("554 5.7.1 no", "failed", timedelta(0))],
)
async def test_what_is_stored_is_by_the_clock_of_the_day_also_after_it_jumped(
    tmp_path: Path, reply: str, state: str, waits: timedelta
) -> None:
    # Under the steady clock all copies were sent at once, and failed rows were removed too early.
    def steady() -> datetime:
        return system_clock() - timedelta(days=60)

    with sending(tmp_path / "b") as sender:
        async with running(ScriptedPeer(context_of("a", tmp_path), {".": reply})) as peer:
            sender.queue("x@a.mssante.fr")
            begun = system_clock()
            await sender.deliver(peer.port, steady=steady)
        (row,) = sender.queued()
        assert (row.state, len(peer.messages)) == (state, 1)
        assert begun + waits <= row.due <= system_clock() + waits * 1.2
