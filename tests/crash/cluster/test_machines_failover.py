"""Two machines whose PostgreSQL fails over to its standby, under load all the time.

Each acknowledged message is there once, except for the lag of an asynchronous standby; only
messages in flight at that moment may come twice.  `make crash ARGS="--only failover"` does it at
length.
"""

import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.smtp.errors import StoreDeferred
from tests.crash.campaign import lines
from tests.crash.field import Field, two_machines
from tests.crash.kills import Row
from tests.crash.load import SENDER
from tests.crash.verdict import Verdict
from tests.support.db.replicas import Pair
from tests.support.machines.daemon import Daemon, client
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)  # many processes, beside other tests


@pytest.fixture
def field(tmp_path: Path, pair: Pair, object_server: ObjectServer) -> Iterator[Field]:
    with two_machines(tmp_path, "short", pair, object_server) as made:
        yield made


def balanced(field: Field) -> Verdict:
    verdict = field.judge()
    assert not verdict.problems, "\n".join(lines([Row("a fail-over", "", 1, verdict)]))
    assert verdict.lost == 0
    assert verdict.acknowledged > 0
    return verdict


@pytest.mark.parametrize("fencing", [True, False], ids=["fenced", "unfenced"])
def test_a_synchronous_standby_loses_nothing(field: Field, *, fencing: bool) -> None:
    field.pair.wait_for_standby(on=True)
    field.start()
    with field.load():
        field.box.post(10)
        field.acknowledgements(5)
        field.fail_over(kill=fencing, fencing=fencing)
        if not fencing:
            # From now on the old primary confirms nothing.
            field.box.post(5)
            field.fence()
        field.box.post(10)
        field.acknowledgements(5)
    verdict = balanced(field)
    assert verdict.lagged == 0


def test_a_standby_that_lags_loses_its_lag_and_nothing_that_came_after(
    tmp_path: Path, pair: Pair, object_server: ObjectServer
) -> None:
    # The new primary reuses numbers, and results of attempts made under the old primary arrive.
    many = {
        "concurrency": 100,
        "destination_concurrency": 100,
        "destination_concurrency_first": 100,
    }
    with two_machines(tmp_path, "short", pair, object_server, **many) as field:
        one = field.machines[0]
        one.daemon.start()
        with field.load(one):
            field.acknowledgements(3, one)
            field.box.post(4)
            field.box.drained()
            pair.caught_up()
            pair.lag()
            field.acknowledgements(3, one)
            field.box.post(30)  # more numbers than a sequence logs in advance
            field.box.drained()
            field.hold()
            field.box.post(15)
            until_now(lambda: field.held >= 10)
            field.fail_over()
            field.box.post(60)
            # Their first attempts fail: a delivery settled by an old result would be missed.
            for peer in field.box.receivers:
                peer.put_off |= {posted.id for posted in field.box.posted[-60:]}
            until_now(lambda: field.held >= 60)
            field.release()
            field.acknowledgements(3, one)
        verdict = balanced(field)
        assert verdict.lagged >= 3


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_no_250(field: Field) -> None:
    one = field.machines[0].daemon
    field.pair.wait_for_standby(on=True)
    one.start()
    field.pair.lag()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(send, one), pool.submit(submit, field)]

        def cancelled() -> bool:
            """Cancel waiting sessions, as a DBA would: `pg_cancel_backend`."""
            field.pair.primary.ask(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            return all(answer.done() for answer in answers)

        until_now(cancelled)
    field.fail_over(kill=True)
    assert "250" not in [answer.result() for answer in answers]
    assert field.box.posted == []


def send(daemon: Daemon) -> str:
    """Send a message to a mailbox here; returns the final reply."""
    with client(daemon, "b") as smtp:
        try:
            smtp.sendmail(
                SENDER,
                ["claire.martin@a.mssante.fr"],
                f"From: <{SENDER}>\r\nSubject: x\r\n\r\nx\r\n",
            )
        except smtplib.SMTPResponseException as refused:
            return str(refused.smtp_code)
    return "250"


def submit(field: Field) -> str:
    """Queue a message; returns `250` like a reply to a mail program."""
    try:
        field.box.post_once()
    except StoreDeferred:
        return "451"
    return "250"
