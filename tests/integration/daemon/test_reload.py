"""SIGHUP: every process is replaced under load without harm to any peer, probe or message.

docs/decisions/0014.  Daemon and clients are real, and nothing depends on timing: a connection that
is refused, reset or cut, a missing answer, a lost or doubled message fails the test at any time.
"""

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support.machines.daemon import Daemon, client, free_endpoint, served
from tests.support.machines.reloading import (
    MARTIN,
    PATIENCE,
    TEXT,
    alive,
    begun,
    change,
    operator,
    reload,
    under_load,
    wait,
)
from tests.support.machines.tls_settings import handshake
from tests.support.waiting import until_now


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return operator(tmp_path / "a", "a", workers=2)


def recipients_offered(daemon: Daemon) -> str:
    """Limit RCPTMAX in the reply to EHLO (RFC 9422)."""
    with client(daemon, "c") as smtp:  # the load uses the files of b's identity
        said = smtp.ehlo()[1].decode()
    found = re.search(r"RCPTMAX=(\d+)", said)
    assert found
    return found[1]


def test_reloads_under_load_harm_nobody(operator_a: Daemon) -> None:
    # Meanwhile the number of workers goes up and down: 2, 3, 1.
    with served(operator_a) as daemon:
        seen = [daemon.processes()]
        with under_load(daemon, probed=True) as load:
            for limit, workers in ((11, 2), (12, 3), (13, 1)):
                change(daemon, "inbound", max_recipients=str(limit))
                change(daemon, "process", workers=str(workers))
                reload(daemon)
                seen.append(daemon.processes())
                assert recipients_offered(daemon) == str(limit)
                assert len(daemon.processes("worker")) == workers
                load.goes_on()
        assert [len(one) for one in seen] == [4, 4, 5, 3]
        assert len(set.union(*seen)) == sum(map(len, seen)), "a process was not replaced"
        assert alive(set.union(*seen)) == seen[-1], "a process outlives its replacement"
        assert load.probes
        assert daemon.events("process.died") == []
        assert daemon.stop() == 0
        assert alive(set.union(*seen)) == set()


def test_a_message_under_way_is_finished_by_the_worker_that_leaves(operator_a: Daemon) -> None:
    # RFC 5321 §3.8: the transaction is completed, then the peer gets 421.
    with served(operator_a) as daemon:
        old = daemon.processes()
        with begun(daemon) as smtp:
            daemon.hang_up()
            until_now(lambda: len(daemon.processes("maintenance") - old) == 1, PATIENCE)
            wait(daemon, "listener.stopped", 1)  # the pid of the worker without a session
            assert daemon.events("reload.done") == []
            smtp.send(b"end\r\n.\r\n")
            assert smtp.getreply()[0] == 250
            assert smtp.getreply()[0] == 421
        wait(daemon, "reload.done")
        assert [entry.message.size for entry in daemon.entries(MARTIN)] == [len(TEXT + b"end\r\n")]
        assert daemon.processes() & old == set()


def test_a_stop_while_an_old_worker_leaves_is_a_good_end(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        seen = daemon.processes()
        with begun(daemon):
            daemon.hang_up()
            until_now(lambda: bool(daemon.processes("maintenance") - seen), PATIENCE)
            until_now(lambda: not daemon.processes("maintenance") & seen, PATIENCE)
            assert daemon.processes("worker") & seen, "its peer is not done"
            seen |= daemon.processes()
            assert daemon.stop() == 0
        assert daemon.events("daemon.stopped")
        assert "Traceback" not in daemon.log()
        assert alive(seen) == set()


BAD: tuple[tuple[str, dict[str, str], str], ...] = (
    ("inbound", {"max_recipient": "5"}, "inbound.max_recipient: unknown key"),
    ("inbound", {"max_recipients": "0"}, "inbound.max_recipients: "),
    ("inbound", {"listen": "["}, "not valid TOML"),
    ("tls", {"certificate": '"gone.pem"'}, "tls: "),
    ("operator", {"postmaster": '"a..b@a.fr"'}, "operator.postmaster: "),
    ("storage", {"directory": '"elsewhere"'}, "storage.directory: cannot change"),
    ("storage", {"database": '"sqlite:////none/x.db"'}, "storage.database: cannot change"),
)


def test_a_bad_configuration_changes_nothing(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        old = daemon.processes()
        good = daemon.config.read_text()
        for number, (section, keys, why) in enumerate(BAD):
            daemon.config.write_text(good)
            change(daemon, section, **keys)
            daemon.hang_up()
            wait(daemon, "reload.refused", number + 1)
            told = daemon.events("reload.refused")[number]
            assert told["level"] == "error"
            assert told["why"].startswith(f"{daemon.config}: {why}")
            assert daemon.processes() == old
        assert daemon.events("reload.begun") == []
        # A process that dies meanwhile is restarted with the configuration in force.
        os.kill(min(daemon.processes("worker")), signal.SIGKILL)
        until_now(lambda: len(daemon.processes("worker") & old) == 1, PATIENCE)
        until_now(lambda: len(daemon.processes("worker")) == 2, PATIENCE)
        assert recipients_offered(daemon) == "1000"
        assert daemon.process is not None
        assert daemon.process.poll() is None
        assert len(daemon.events("process.died")) == 1


def test_addresses_come_and_go(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        first, second = daemon.endpoint, free_endpoint()
        change(daemon, "inbound", listen=f'["{first}", "{second}"]')
        reload(daemon)
        assert recipients_offered(daemon) == "1000"
        daemon.endpoint = second
        assert recipients_offered(daemon) == "1000"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            other = f"127.0.0.1:{taken.getsockname()[1]}"
            change(daemon, "inbound", listen=f'["{second}", "{other}"]')
            daemon.hang_up()
            wait(daemon, "reload.refused")
        assert f"inbound.listen: cannot listen on {other}" in str(daemon.events("reload.refused"))
        change(daemon, "inbound", listen=f'["{second}"]')
        change(daemon, "admin", listen=f'"{free_endpoint()}"')
        reload(daemon)
        assert recipients_offered(daemon) == "1000"
        for gone in (first, daemon.admin):
            host, _, port = gone.rpartition(":")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)))


def test_what_openssl_reads_at_start_is_read_again(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        assert handshake(daemon, group="prime256v1")
        change(daemon, "tls", groups='["secp384r1"]')
        reload(daemon)
        assert not handshake(daemon, group="prime256v1")
        assert handshake(daemon, group="secp384r1")
        os.kill(min(daemon.processes("worker")), signal.SIGKILL)
        until_now(lambda: len(daemon.processes("worker")) == 1)
        until_now(lambda: len(daemon.processes("worker")) == 2)
        assert len(list((daemon.folder / "data" / "run").glob("openssl*"))) == 1


def test_a_connection_that_waits_outlives_its_worker(tmp_path: Path) -> None:
    # At first no worker accepts it, then the only worker that could is killed.
    with served(operator(tmp_path / "a", "a")) as daemon:
        (worker,) = daemon.processes("worker")
        os.kill(worker, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as waiting:
            os.kill(worker, signal.SIGKILL)
            assert waiting.recv(100).startswith(b"220 ")


def test_a_worker_killed_while_it_is_replaced(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        old = daemon.processes("worker")
        daemon.hang_up()
        wait(daemon, "reload.begun")
        os.kill(min(old), signal.SIGKILL)
        wait(daemon, "reload.done")
        until_now(lambda: len(daemon.processes("worker")) == 2, PATIENCE)
        assert daemon.processes("worker") & old == set()
        assert recipients_offered(daemon) == "1000"


def test_a_new_worker_that_does_not_start_leaves_the_old_at_work(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        old = daemon.processes()
        change(daemon, "inbound", max_recipients="5", listen=f'["{daemon.endpoint}", "[::1]:0"]')
        with under_load(daemon):
            daemon.hang_up()
            until_now(lambda: bool(daemon.processes("worker") - old), PATIENCE)
            (new,) = daemon.processes("worker") - old
            os.kill(new, signal.SIGKILL)
            wait(daemon, "reload.refused")
            assert "worker process cannot start: " in daemon.events("reload.refused")[0]["why"]
            assert daemon.processes() == old
            assert recipients_offered(daemon) == "1000"
            reload(daemon)
            assert recipients_offered(daemon) == "5"
        assert alive(old) == set()


def test_stopping_amid_a_reload(operator_a: Daemon) -> None:
    change(operator_a, "process", stop_seconds="0.5", workers="2")
    with served(operator_a) as daemon:
        seen = daemon.processes()
        with begun(daemon):  # it keeps its worker running until the worker's deadline
            daemon.hang_up()
            until_now(lambda: len(daemon.processes("worker") - seen) == 1, PATIENCE)
            seen |= daemon.processes()
            assert daemon.stop() == 0
        assert alive(seen) == set()
        assert daemon.events("daemon.stopped")
        assert daemon.events("reload.done") == []
        assert daemon.events("process.stuck") == []


def test_signals_amid_a_reload_count_as_one(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        daemon.hang_up()
        wait(daemon, "reload.begun")
        first = daemon.processes()
        for limit in ("5", "6"):
            change(daemon, "inbound", max_recipients=limit)
            daemon.hang_up()
        wait(daemon, "reload.done", 2)
        assert recipients_offered(daemon) == "6"
        assert daemon.processes() & first == set()
        assert daemon.stop() == 0
        assert len(daemon.events("reload.begun")) == 2


def test_couriers_never_work_side_by_side(tmp_path: Path) -> None:
    # A lease of the previous courier must not be freed: its message would be sent twice.
    b = operator(tmp_path / "b", "b")
    change(b, "process", workers="1", silent_seconds="600")  # the worker is stopped for a while
    a = operator(tmp_path / "a", "a", {"b.mssante.fr": b.endpoint})
    recipient = "cardiologie@b.mssante.fr"
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: claire.martin@a.mssante.fr\nSubject: x\n\nBonjour\n")
    with served(b), served(a):
        (stalled,) = b.processes("worker")
        os.kill(stalled, signal.SIGSTOP)
        try:
            a.run("message", "send", str(letter), "--from", MARTIN, "--to", recipient)
            until_now(lambda: '"in_flight": 1' in a.run("queue", "summary", "--json"))
            a.hang_up()
            until_now(lambda: len(a.processes("maintenance")) == 1, PATIENCE)
            until_now(lambda: len(a.processes("courier")) == 2, PATIENCE)
            assert len(a.events("courier.started")) == 1
        finally:
            os.kill(stalled, signal.SIGCONT)
        wait(a, "reload.done")
        until_now(lambda: len(a.events("courier.started")) == 2)
        assert [one["leases_freed"] for one in a.events("courier.started")] == [0, 0]
        until_now(lambda: len(b.entries(recipient)) == 1)
        assert len(a.processes("courier")) == 1
        assert '"in_flight": 1' not in a.run("queue", "summary", "--json")
        assert len(b.entries(recipient)) == 1
