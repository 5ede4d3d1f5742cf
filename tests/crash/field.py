"""Field: operator a on two machines, each with its own proxies to PostgreSQL and S3; two peers.

The proxies cut a machine, or both, off from the database or the bucket, and allow a fail-over of
the database. A third installation, with good connections, is never started: the tests queue and
inspect through it. Inbound mail comes by `load`, outbound mail goes by `box`, and `judge` balances
all of it.
"""

import os
import signal
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy import delete, update

from mailstore.s3.bucket import BucketPlace
from relay.queue.schema import deliveries, delivery_recipients, destinations
from tests.crash.load import Ledger, Load, Sending
from tests.crash.outbox import Outbox, leased, outbox, queued, stored
from tests.crash.receiver import receiver
from tests.crash.site import PATIENCE
from tests.crash.verdict import Verdict, judge
from tests.support.db.replicas import Pair
from tests.support.machines.cluster import lay_out_apart
from tests.support.machines.daemon import Daemon, get
from tests.support.machines.processes import children
from tests.support.sessions.proxy import Proxy, proxying
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

_AT_ONCE: Final = 10.0  # seconds for an action that waits for nothing
SIZES: Final = (2_000, 2_000, 20_000, 90_000)  # sizes of inbound mail, in octets


@dataclass(frozen=True)
class Machine:
    """A daemon, with its proxies to the database and the bucket."""

    daemon: Daemon
    database: Proxy
    bucket: Proxy
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def ready(self) -> int:
        """The status of `/readyz`, 0 without an answer."""
        try:
            return get(self.daemon, "/readyz")[0]
        except OSError:
            return 0

    @property
    def lives(self) -> bool:
        """True if the daemon runs."""
        return self.daemon.process is not None and self.daemon.process.poll() is None


@dataclass(eq=False)
class Field:
    """See the module; `lagged` are acknowledged messages that were lost with an old primary."""

    machines: Sequence[Machine]
    box: Outbox
    pair: Pair
    place: BucketPlace
    seed: str
    _ours: Machine
    lagged: set[str] = field(default_factory=set)
    _digests: dict[str, str] = field(default_factory=dict)
    _leased_there: set[tuple[str, str]] = field(default_factory=set)
    _loads: int = 0

    def start(self) -> None:
        """Start both daemons."""
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(one.daemon.start) for one in self.machines]:
                started.result()

    @contextmanager
    def starting(self, one: Machine) -> Iterator[Future[None]]:
        """Start a daemon that may be ready only at the end of the block, which waits for it."""
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(one.daemon.start)
            until_now(lambda: one.daemon.process is not None or started.done(), PATIENCE)
            try:
                yield started
            finally:
                one.database.mend()  # otherwise the start would not end

    def restart(self, one: Machine) -> None:
        """Start a daemon that was killed or has ended by itself."""
        self._broken_off(one)
        if one.daemon.process is not None:
            one.daemon.kill()
        one.daemon.start()

    def terminate(self, one: Machine) -> None:
        """SIGTERM, maybe while its database is away: unrecorded results are sent again."""
        self._broken_off(one)
        one.daemon.stop()

    def _broken_off(self, one: Machine) -> None:
        """Note the courier's current deliveries: a peer may have answered, or may still answer."""
        node = one.daemon.folder / "data" / "node"
        if node.exists():  # the machine was started before
            with self._ours.daemon.store() as store:
                self.box.interrupted(leased(store, f"{node.read_text().strip()}:"))

    def kill(self, one: Machine, *roles: str) -> set[int]:
        """SIGKILL to processes of these roles (default: all); return their process ids.

        The courier's current deliveries are noted.
        """
        assert one.daemon.process is not None
        first = one.daemon.process.pid
        dying = (
            set().union(*map(one.daemon.processes, roles)) if roles else {first, *children(first)}
        )
        for pid in dying:
            _signal(pid, signal.SIGSTOP)  # an attempt follows the commit of its lease
        if not roles or "courier" in roles:
            self._broken_off(one)
        if not roles:
            one.daemon.kill()
        for pid in dying:
            _signal(pid, signal.SIGKILL)
        return dying

    def hang_commits(self) -> None:
        """Let the database answer, but end no commit: like a hanging disk."""
        self.pair.wait_for_standby(on=True)
        self.pair.lag()

    def mend(self) -> None:
        """Remove all obstacles."""
        self.pair.primary.melt()
        self.pair.caught_up()
        if self.pair.synchronous:
            self.pair.wait_for_standby(on=False)
        for one in self.machines:
            one.database.mend()
            one.bucket.mend()

    def end(self) -> None:
        """Kill the running daemons."""
        for one in self.machines:
            if one.daemon.process is not None:
                one.daemon.kill()

    def forget(self) -> None:
        """Start over with an empty queue, whatever a test left; no daemon runs."""
        with self._ours.daemon.store() as store, store.database.write() as connection:
            for table in (delivery_recipients, deliveries, destinations):
                connection.execute(delete(table))
        self.box.forget()

    @contextmanager
    def load(self, *machines: Machine, clients: int = 1) -> Iterator[None]:
        """Peers that send to these machines (default: both), one message after the other."""
        with ExitStack() as stack:
            for one in machines or self.machines:
                self._loads += 1
                seed = f"{self.seed} load {self._loads}"
                stack.enter_context(
                    Load(one.daemon, one.ledger, seed, clients=clients, sizes=SIZES)
                )
            yield

    def acknowledgements(self, count: int, *machines: Machine) -> None:
        """Wait for `count` more acknowledgements of each of these machines (default: both)."""
        goals = [(one.ledger, one.ledger.acknowledged + count) for one in machines or self.machines]
        until_now(lambda: all(known.acknowledged >= goal for known, goal in goals), PATIENCE)

    def hold(self) -> None:
        """Make peers delay the reply to the end of each message."""
        for peer in self.box.receivers:
            peer.holding = True

    @property
    def held(self) -> int:
        """Number of delayed replies."""
        return sum(peer.held for peer in self.box.receivers)

    def release(self) -> None:
        """Let the peers reply."""
        for peer in self.box.receivers:
            peer.holding = False

    def fail_over(self, *, kill: bool = False, fencing: bool = True) -> None:
        """Promote the standby and redirect all machines to it; `kill` ends the old primary before.

        With `fencing`, connections to the old primary end. Without it they live on until `fence`.
        """
        ways = [one.database for one in self.machines]
        if fencing:
            for way in ways:
                way.cut()
        under_way = self._leased()
        if kill:
            self.pair.primary.kill()
        self.pair.fail_over()
        if not kill:
            under_way |= self._leased()
        self._ours.database.point(self.pair.primary.address, fencing=True)
        if not fencing and not self.pair.synchronous:
            # Two primaries: each may have any mail delivered, without the knowledge of the other.
            with self._ours.daemon.store() as store:
                under_way |= queued(store)
        self._note(under_way)
        for way in ways:
            way.point(self.pair.primary.address, fencing=False)
            if fencing:
                way.mend()

    def fence(self) -> None:
        """End the remaining connections to an old primary, and note its mail."""
        for one in self.machines:
            one.database.blink()
        self.pair.standby.kill()
        if not self.pair.synchronous:
            self._note(self._leased())

    def _leased(self) -> set[tuple[str, str]]:
        with self._ours.daemon.store() as store:
            return leased(store)

    def _note(self, under_way: Collection[tuple[str, str]]) -> None:
        self.box.failed_over(under_way)
        with self._ours.daemon.store() as store:
            known = stored(store)
            self._leased_there |= leased(store)
        self.lagged |= {
            one.accepted for one in self._sendings() if one.accepted and one.accepted not in known
        }

    def _sendings(self) -> list[Sending]:
        return [sending for one in self.machines for sending in one.ledger.sendings]

    def judge(self) -> Verdict:
        """Balance all acknowledged mail, in and out, once no mail waits any more.

        No peer may be sending.
        """
        try:
            self.box.drained(_AT_ONCE)
        except TimeoutError:
            self._let_time_pass()
            self.box.drained()
        with self._ours.daemon.store() as store:
            found = judge(store, self._sendings(), self._digests, self.lagged)
        found.add(self.box.judge())
        return found

    def _let_time_pass(self) -> None:
        """Half an hour, in which orphaned leases on a new primary expire.

        Their deliveries were made, but the new primary lacks the record of them.
        """
        d = deliveries.c
        with self._ours.daemon.store() as store:
            until_now(lambda: queued(store) <= self._leased_there, PATIENCE)
            with store.database.write() as connection:
                connection.execute(
                    update(deliveries)
                    .where(d.state == "waiting", d.lease_until.is_not(None))
                    .values(lease_until=d.created_at, due=d.created_at)
                )


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def two_machines(
    folder: Path, seed: str, pair: Pair, objects: ObjectServer, **outbound: float
) -> Iterator[Field]:
    """Lay the field out on its own database; no daemon runs yet. More keys of [outbound]."""
    folder.mkdir(parents=True, exist_ok=True)
    name, place = pair.database(), objects.place(prefix="a")
    with ExitStack() as stack:
        peers = [stack.enter_context(receiver(folder, peer)) for peer in "bc"]
        ways = [
            (
                stack.enter_context(proxying(pair.primary.address)),
                stack.enter_context(proxying(("127.0.0.1", objects.port))),
            )
            for _ in range(3)
        ]
        ends = [
            (
                replace(place, endpoint=f"http://127.0.0.1:{bucket.port}"),
                f"postgresql://postgres@127.0.0.1:{database.port}/{name}",
            )
            for database, bucket in ways
        ]
        routes = {one.domain: one.endpoint for one in peers}
        daemons = lay_out_apart(folder, ends, pair.primary.url(name), routes=routes)
        keys = {"poll_seconds": 0.2, "retry_first_seconds": 0.2, "probe_first_seconds": 0.5}
        for one in daemons:
            one.outbound(**(keys | outbound))
            text = one.config.read_text()
            one.config.write_text(text.replace("[process]\n", "[process]\nstop_seconds = 5\n"))
        *machines, ours = [Machine(daemon, *way) for daemon, way in zip(daemons, ways, strict=True)]
        box = stack.enter_context(outbox(ours.daemon, peers, seed))
        made = Field(machines, box, pair, place, seed, ours)
        try:
            yield made
        finally:
            made.release()
            made.end()
