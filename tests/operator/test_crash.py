"""kill -9 at random moments: what was acknowledged is there, whole and once, and the queue goes on.

These are the promises of acceptance (`250` only after the commit) and of the queue (at least once,
twice only what was under way) as an operator would meet them.  `make crash` makes many rounds.  A
killed process leaves its pages to the kernel: that they were synced is for the tests of the stores.
"""

import hashlib
import os
import random
import smtplib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from sqlalchemy import func, select

from mailstore.schema import entries, messages
from mssante_operator import runtime
from mssante_operator.settings import load
from relay.acceptance import Store
from relay.address import parse_address
from relay.queue import depth
from relay.queue_schema import deliveries
from tests.support.daemon import Daemon, dial, lay_out, served
from tests.support.waiting import until_now

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
CLIENTS = 6  # that send at once
BATCH = 40  # messages that wait in the queue when a round begins
JITTER = 0.05  # seconds within which the kill falls anywhere: several group commits, a delivery

DURAND = "durand@b.mssante.fr"
MARTIN = "claire.martin@a.mssante.fr"
OURS = (MARTIN, "cardiologie@a.mssante.fr")
THEIRS = "cardiologie@b.mssante.fr"


def letter(randomness: random.Random, sender: str) -> bytes:
    """A message like no other; some are so large that they are on disk before they have ended."""
    lines = randomness.choice([1, 1, 30, 30, 300, 9_000])
    head = f"From: <{sender}>\r\nSubject: [FIN]\r\n\r\n".encode()
    return head + f"{randomness.randbytes(32).hex()}\r\n".encode() * lines


def digest(octets: bytes) -> str:
    """The name of a blob with these octets."""
    return hashlib.sha256(octets).hexdigest()


@dataclass
class Ledger:
    """What the clients know, by blob; shared by their threads."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)


def send_until_cut(port: int, identity: Sequence[Path], ledger: Ledger, seed: str) -> None:
    """Send one message after the other, each to both mailboxes, until the connection breaks."""
    randomness = random.Random(seed)
    try:
        with dial(port, *identity) as smtp:
            while True:
                message = letter(randomness, DURAND)
                ledger.sent.add(digest(message))
                smtp.sendmail(DURAND, OURS, message)
                ledger.acknowledged.add(digest(message))
    except smtplib.SMTPServerDisconnected:
        return
    except smtplib.SMTPException:  # a refusal; it is an OSError, too
        raise
    except OSError:
        return


def crash_amid_senders(daemon: Daemon, ledger: Ledger, number: int) -> None:
    """Kill the daemon while clients send, some acknowledgements after they began."""
    randomness = random.Random(f"kill {number}")
    enough = len(ledger.acknowledged) + randomness.randrange(1, 60)
    identity = daemon.identity("b")
    with ThreadPoolExecutor(CLIENTS) as pool:
        sending = [
            pool.submit(send_until_cut, daemon.port, identity, ledger, f"client {number} {n}")
            for n in range(CLIENTS)
        ]
        try:
            until_now(lambda: len(ledger.acknowledged) >= enough)
            time.sleep(randomness.uniform(0, JITTER))  # what is awaited is any moment at all
        finally:
            daemon.kill()
        for one in sending:
            one.result()


def check(daemon: Daemon, ledger: Ledger, whole: set[str]) -> None:
    """Compare what the daemon holds with what the clients know; `whole` blobs were read before."""
    first, second = (
        Counter(entry.message.blob for entry in daemon.entries(address)) for address in OURS
    )
    assert ledger.acknowledged - first.keys() == set(), "acknowledged and lost"
    assert first.keys() - ledger.sent == set(), "nobody sent this"
    assert set(first.values()) <= {1}, "delivered twice"
    assert first == second, "only one of the two recipients has it"
    with daemon.store() as store, store.database.read() as connection:
        assert set(connection.scalars(select(messages.c.blob))) == first.keys()
    with daemon.store() as store:
        blobs = set(store.blobs.names())
        assert first.keys() <= blobs, "a message without its body"
        for name in blobs - whole:
            with store.blobs.open(name) as stored:
                assert digest(stored.read()) == name, "a blob that is not whole"
    whole |= blobs


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    # DESIGN §3, RFC 5321 §6.1: after the 250, the message is ours to keep.
    a = lay_out(tmp_path / "a", "a", workers=1)
    ledger, whole = Ledger(), set[str]()
    for number in range(ROUNDS):
        with served(a):
            check(a, ledger, whole)
            crash_amid_senders(a, ledger, number)
    with served(a):
        check(a, ledger, set())
    assert len(ledger.acknowledged) >= ROUNDS


def arrived(peer: Store) -> int:
    """How many messages the peer's mailboxes hold."""
    with peer.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(entries)) or 0


def waiting(ours: Store) -> int:
    """How many deliveries are still to be made."""
    with ours.database.read() as connection:
        return depth(connection).waiting


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
    submitter = runtime.open_submitter(load(a.config))
    sender, recipient = parse_address(MARTIN), parse_address(THEIRS)
    with served(b), a.store() as ours, b.store() as peer:
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
    submitter.store.database.close()
    submitter.store.blobs.close()
    assert expected.keys() - copies.keys() == set(), "queued and lost"
    assert copies.keys() - expected.keys() == set(), "nobody sent this"
    for blob, count in copies.items():
        assert count <= 1 + interrupted[expected[blob]], "sent twice without need"
