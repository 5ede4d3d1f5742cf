"""Two daemons, each with its own addresses, on one PostgreSQL and one S3 store; one is killed.

docs/durability.md: the machines share one store; each message acknowledged by either is there once.
"""

import hashlib
import random
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from mailstore.db.schema import entries, messages
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.s3.bucket import Bucket, BucketPlace
from mssante_operator.assembly.clock import utc_now
from tests.support.db.databases import PostgresServer
from tests.support.machines.cluster import (
    DURAND,
    MARTIN,
    body,
    keep_in_bucket,
    lay_out_machines,
    send,
)
from tests.support.machines.daemon import Daemon, dial, get, lay_out, served
from tests.support.storage.blobs import content
from tests.support.storage.object_server import ObjectServer, object_server_running
from tests.support.waiting import until_now

OURS = (MARTIN, "cardiologie@a.mssante.fr")
SOUND = "all bodies are intact\n"
DAY = timedelta(days=1)


def bodies(machine: Daemon, address: str) -> list[bytes]:
    """Content of a mailbox, read by this machine."""
    with machine.store() as store:
        return [content(store.blobs, entry.message.blob) for entry in machine.entries(address)]


def objects(place: BucketPlace) -> list[str]:
    return [found.key for found in Bucket(place).list() if "/" in found.key]


@pytest.fixture
def place(object_server: ObjectServer) -> BucketPlace:
    return object_server.place(prefix="mail/a")


@pytest.fixture
def machines(
    tmp_path: Path, place: BucketPlace, postgres_server: PostgresServer, postgres_template: str
) -> Iterator[Sequence[Daemon]]:
    name = postgres_server.create(postgres_template)
    yield lay_out_machines(tmp_path, place, postgres_server.url(name))
    postgres_server.drop(name)


def test_one_of_two_is_killed_amid_its_load_and_nothing_is_lost(
    machines: Sequence[Daemon], place: BucketPlace
) -> None:
    one, two = machines
    assert one.endpoint != two.endpoint
    with served(one), served(two):
        ledgers, over = [Ledger(), Ledger()], threading.Event()
        with ThreadPoolExecutor(4) as pool:
            sending = [
                pool.submit(send_until, machine, machine.identity("b"), ledger, over, number)
                for machine, ledger in zip(machines, ledgers, strict=True)
                for number in range(2)
            ]
            try:
                until_now(lambda: min(len(ledger.acknowledged) for ledger in ledgers) >= 5)
                one.kill()
                enough = len(ledgers[1].acknowledged) + 8
                until_now(lambda: len(ledgers[1].acknowledged) >= enough)
            finally:
                over.set()
            for each in sending:
                each.result()
        check(two, *ledgers)

        # The killed machine is back, and both have the same mail from then on.
        one.start()
        before = set(objects(place))
        large, small = body(1), b"From: <durand@b.mssante.fr>\r\n\r\nBonjour.\r\n"
        for machine in machines:
            send(machine, large)
            send(machine, small)
        assert one.entries(MARTIN) == two.entries(MARTIN)
        for machine in machines:
            assert bodies(machine, MARTIN)[-4:] == [large, small] * 2
        # No name tells that two bodies are equal, or which document it is.
        new = set(objects(place)) - before
        assert len(new) == 2
        assert not any(one.startswith(hashlib.sha256(large).hexdigest()) for one in new)
        assert one.run("store", "check").startswith(SOUND)


@dataclass
class Ledger:
    """Messages sent to one machine and acknowledged by it; shared by the client threads."""

    sent: set[bytes] = field(default_factory=set)
    acknowledged: set[bytes] = field(default_factory=set)


def check(machine: Daemon, *ledgers: Ledger) -> None:
    """Check: each acknowledged message is there once per recipient, unchanged, and no other."""
    acknowledged = set().union(*(ledger.acknowledged for ledger in ledgers))
    sent = set().union(*(ledger.sent for ledger in ledgers))
    for address in OURS:
        held = Counter(bodies(machine, address))
        assert acknowledged <= held.keys() <= sent
        assert set(held.values()) == {1}


def send_until(
    machine: Daemon, identity: Sequence[Path], ledger: Ledger, over: threading.Event, number: int
) -> None:
    """Send messages to both mailboxes, one after the other, until stopped or cut off."""
    randomness = random.Random(f"{machine.port} {number}")
    try:
        with dial(machine.port, *identity) as smtp:
            while not over.is_set():
                message = body(randomness.randrange(2**32), randomness.choice([500, 100_000]))
                ledger.sent.add(message)
                smtp.sendmail(DURAND, OURS, message)
                ledger.acknowledged.add(message)
    except (smtplib.SMTPServerDisconnected, ConnectionError):
        return  # killed


def test_without_the_bucket_mail_is_put_off_until_it_is_back(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    with object_server_running() as server:
        place = server.place()
        keep_in_bucket(daemon, place)
        with served(daemon):
            send(daemon, body(1))
            server.kill()
            with pytest.raises(smtplib.SMTPResponseException) as refused:
                send(daemon, body(2))
            assert refused.value.smtp_code == 451
            assert "4.3.0 Mail" in str(refused.value.smtp_error)
            until_now(lambda: "no connection" in daemon.log())
            assert place.secret_key not in daemon.log()
            server.start()
            server.make(place.bucket)

            def taken() -> bool:
                try:
                    send(daemon, body(3))
                except smtplib.SMTPResponseException:
                    return False
                return True

            until_now(taken)
            assert daemon.body(daemon.entries(MARTIN)[-1]) == body(3)
            # The S3 server loses all objects when it dies; `store check` reports only that.
            said = daemon.run("store", "check", code=1)
            assert said.count("missing  ") == 1


def test_the_daemon_frees_what_nobody_needs(
    tmp_path: Path, object_server: ObjectServer, place: BucketPlace
) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    keep_in_bucket(daemon, place, "", "gc_hours = 0.0002")
    daemon.config.write_text(daemon.config.read_text().replace('"console"', '"json"'))
    with served(daemon):
        for seed in (1, 2):
            send(daemon, body(seed), OURS)
        gone, kept = daemon.entries(MARTIN)
        with daemon.store() as store, store.database.write() as connection:
            long_ago = utc_now() - 2 * DAY
            connection.execute(update(messages).values(received_at=long_ago))
            box = get_mailbox(connection, OURS[1]).id
            connection.execute(delete(entries).where(entries.c.mailbox_id == box))
            connection.execute(delete(entries).where(entries.c.id == gone.id))
        object_server.age(2 * DAY, place.prefix)
        until_now(lambda: len(objects(place)) == 1)
        assert [daemon.body(entry) for entry in daemon.entries(MARTIN)] == [body(2)]
        assert objects(place)[0].startswith(kept.message.blob)
        until_now(
            lambda: 'mssante_store_freed_total{what="bodies"} 1.0' in get(daemon, "/metrics")[1]
        )
        (freed,) = [event for event in daemon.events("store.freed") if event["bodies"]]
        assert (freed["messages"], freed["bodies"]) == (1, 1)
        assert daemon.run("store", "check").startswith(SOUND)
