"""kill -9: what was acknowledged is there, whole and once, and the queue goes on.

These are the promises of acceptance (`250` only after the commit) and of the queue (at least once,
twice only what was under way) as an operator would meet them.  `make crash` kills far more often.
A killed process leaves its pages to the kernel: test_power.py is about what was synced.
"""

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mailstore.schema import entries
from mssante_operator import runtime
from mssante_operator.settings import load
from mssante_operator.submitting import open_submitter
from relay.acceptance import Store
from relay.address import parse_address
from relay.queue_control import count
from relay.queue_filter import Filter, Standing
from relay.queue_schema import deliveries
from tests.crash import kills
from tests.crash.campaign import lines
from tests.crash.kills import Row
from tests.crash.site import postgres, site
from tests.support.daemon import Daemon, lay_out, served
from tests.support.waiting import until_now

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
BATCH = 40  # messages that wait in the queue when a round begins
JITTER = 0.05  # seconds within which the kill falls anywhere: several group commits, a delivery

# It starts many processes, beside other tests.
pytestmark = pytest.mark.timeout(300 + 30 * ROUNDS)

MARTIN = "claire.martin@a.mssante.fr"
THEIRS = "cardiologie@b.mssante.fr"


def letter(randomness: random.Random, sender: str) -> bytes:
    """A message like no other; some are so large that they are on disk before they have ended."""
    lines = randomness.choice([1, 1, 30, 30, 300, 9_000])
    head = f"From: <{sender}>\r\nSubject: [FIN]\r\n\r\n".encode()
    return head + f"{randomness.randbytes(32).hex()}\r\n".encode() * lines


def digest(octets: bytes) -> str:
    """The name of a blob with these octets."""
    return hashlib.sha256(octets).hexdigest()


def assert_nothing_lost(rows: Sequence[Row]) -> None:
    for row in rows:
        assert not row.verdict.problems, "\n".join(lines([row]))
        assert row.verdict.found == row.verdict.acknowledged
    assert sum(row.verdict.acknowledged for row in rows) > 0


def test_what_was_acknowledged_survives_kills_of_the_daemon_and_of_workers(tmp_path: Path) -> None:
    # DESIGN §3, RFC 5321 §6.1: after the 250, the message is ours to keep.
    with site(tmp_path / "a", "short") as here:
        rows = [
            kills.worker_at_random(here, 2),
            kills.worker_at_step(here, "blobs.placing", 2),
            kills.worker_at_step(here, "answer.due", 2),
            kills.daemon_at_random(here, 1),
            kills.daemon_at_step(here, "rows.committed", 1),
        ]
        assert_nothing_lost(rows)
        assert sum(row.kills for row in rows) >= 8
        assert here.leave() == []


def test_what_was_acknowledged_survives_kills_of_the_database(tmp_path: Path) -> None:
    with postgres() as database, site(tmp_path / "a", "short", database=database.url) as here:
        random_one = kills.postgres_at_random(here, database, 1)
        assert_nothing_lost(
            [random_one, kills.postgres_at_step(here, database, "rows.inserted", 1)]
        )
        assert here.ledger.refusals.keys() <= kills.TEMPORARY
        assert here.leave() == []


def arrived(peer: Store) -> int:
    """How many messages the peer's mailboxes hold."""
    with peer.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(entries)) or 0


def waiting(ours: Store) -> int:
    """How many deliveries are still to be made."""
    with ours.database.read() as connection:
        return count(connection, Filter(), runtime.clock())[Standing.WAITING]


def under_way(ours: Store) -> list[str]:
    """The messages whose delivery had begun and was not recorded as done."""
    d = deliveries.c
    with ours.database.read() as connection:
        return list(connection.scalars(select(d.message_id).where(d.lease_owner.is_not(None))))


def crash_amid_deliveries(daemon: Daemon, peer: Store, randomness: random.Random) -> None:
    """Run the daemon and kill it, some arrivals after it began."""
    enough = arrived(peer) + randomness.randrange(BATCH // 2)
    with served(daemon):
        until_now(lambda: arrived(peer) >= enough)
        time.sleep(randomness.uniform(0, JITTER))  # what is awaited is any moment at all
        daemon.kill()


def test_the_queue_survives_kill_9(tmp_path: Path) -> None:
    # DESIGN §2.6, §3: nothing is lost, and sent twice only what was under way.
    b = lay_out(tmp_path / "b", "b", workers=1)
    a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": b.endpoint}, workers=1)
    a.outbound(concurrency=4, poll_seconds=0.05)
    randomness = random.Random("queue")
    expected: dict[str, str] = {}  # our message by the blob that the peer must have
    interrupted: Counter[str] = Counter()  # crashes during the delivery of a message
    sender, recipient = parse_address(MARTIN), parse_address(THEIRS)
    with (
        open_submitter(load(a.config)) as submitter,
        served(b),
        a.store() as ours,
        b.store() as peer,
    ):
        for _ in range(ROUNDS):
            for _ in range(BATCH - waiting(ours)):
                body = letter(randomness, MARTIN)
                accepted = submitter.submit(BytesIO(body), sender, [recipient])
                expected[digest(accepted.trace + body)] = accepted.id
            crash_amid_deliveries(a, peer, randomness)
            interrupted.update(under_way(ours))
        with served(a):
            until_now(lambda: waiting(ours) == 0)
        copies = Counter(entry.message.blob for entry in b.entries(THEIRS))
    assert expected.keys() - copies.keys() == set(), "queued and lost"
    assert copies.keys() - expected.keys() == set(), "nobody sent this"
    for blob, number in copies.items():
        assert number <= 1 + interrupted[expected[blob]], "sent twice without need"
