"""`mssante config check`: NO exactly where `serve` refuses, DOUBT for a possible mistake."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mssante_operator.assembly.clock import utc_now
from mssante_operator.checks import own_certificate
from mssante_operator.setup.install import TrustSpace, write_identity
from mssante_operator.setup.testbed.certificate_profile import Lifetime, Subject
from mssante_operator.setup.testbed.credential import Credential
from tests.support.machines.daemon import Daemon, federation, free_endpoint, get, lay_out, served
from tests.support.waiting import until_now
from whitelist.pki.certificates import read_pem
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import TrustStore


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def findings(daemon: Daemon, code: int) -> list[tuple[str, str, str]]:
    """Lines of the check, whose exit code must be `code`."""
    rows = json.loads(daemon.run("config", "check", "--json", code=code))
    return [(row["check"], row["ok"], row["detail"]) for row in rows]


def change(daemon: Daemon, before: str, after: str) -> None:
    text = daemon.config.read_text()
    assert before in text
    daemon.config.write_text(text.replace(before, after, 1))


def encrypt_key(daemon: Daemon) -> None:
    path = daemon.folder / "pki" / "server.key"
    key = load_pem_private_key(path.read_bytes(), None)
    secret = BestAvailableEncryption(b"x")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


def listen(*endpoints: str) -> Callable[[Daemon], None]:
    def set_(daemon: Daemon) -> None:
        change(daemon, f'listen = ["{daemon.endpoint}"]', f"listen = {json.dumps(endpoints)}")

    return set_


def occupy(daemon: Daemon) -> None:
    """Let another program listen there until this process ends."""
    taken = socket.create_server(("127.0.0.1", daemon.port))
    os.dup(taken.fileno())
    taken.close()


def in_the_way(name: str) -> Callable[[Daemon], None]:
    def put(daemon: Daemon) -> None:
        path = daemon.folder / "data" / name
        shutil.rmtree(path, ignore_errors=True)
        path.write_bytes(b"")

    return put


def folder_in_the_way(name: str) -> Callable[[Daemon], None]:
    def put(daemon: Daemon) -> None:
        path = daemon.folder / "data" / name
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    return put


ONE = "127.0.0.1:{0}"
PORT = int(free_endpoint().rpartition(":")[2])
REFUSED: dict[str, tuple[Callable[[Daemon], None], str]] = {
    "an encrypted key": (encrypt_key, "is encrypted, and nobody is there to type its password"),
    "an address twice": (listen(f"127.0.0.1:{PORT}", f"127.0.0.1:{PORT}"), "listed twice"),
    "all hosts twice": (listen(f"0.0.0.0:{PORT}", f"[::]:{PORT}"), "remove one"),
    "one of all hosts": (listen(f"0.0.0.0:{PORT}", f"127.0.0.1:{PORT}"), "remove one"),
    "an address of others": (listen(f"192.0.2.1:{PORT}"), "address not on this machine"),
    "no address": (listen(f"no-such-host.invalid:{PORT}"), "set an address of this machine"),
    "an address in use": (occupy, "stop the program that uses it, or choose another"),
    "a name of another address": (
        listen(f"localhost:{PORT}", f"127.0.0.1:{PORT}"),
        "remove one",
    ),
    "a file for the run folder": (in_the_way("run"), "data/run: is not a folder"),
    "a folder for the lock": (folder_in_the_way("run/lock"), "data/run/lock: is a folder"),
    "a file for revocation lists": (in_the_way("crl"), "data/crl"),
    "a folder for the node's name": (folder_in_the_way("node"), "data/node: no valid machine name"),
    "no schema": (lambda d: (d.folder / "data/mssante.db").unlink(), "db upgrade"),
    "keys that all can read": (lambda d: (d.folder / "data/keys").chmod(0o644), "chmod 600 /"),
}


@pytest.mark.binds_elsewhere
@pytest.mark.parametrize("fault", REFUSED)
def test_no_is_what_serve_refuses(daemon: Daemon, fault: str) -> None:
    spoil, says = REFUSED[fault]
    spoil(daemon)
    found = findings(daemon, 1)
    assert [detail for _, ok, detail in found if ok == "NO" and says in detail], found
    refused = daemon.run("serve", code=1)
    assert refused.startswith("mssante: ")
    assert refused.count("\n") == 1
    if fault not in {
        "all hosts twice",
        "one of all hosts",
        "a name of another address",
    }:  # the system says "in use" for it
        assert says in refused


def without_list(daemon: Daemon) -> None:
    (daemon.folder / "whitelist" / "listeblanchemssante.xml").unlink()


def spoil_crl(daemon: Daemon) -> None:
    (daemon.folder / "pki" / "root.crl").write_bytes(b"garbage")
    (daemon.folder / "pki" / "intermediate.crl").unlink()


def low_disk(daemon: Daemon) -> None:
    change(
        daemon,
        '[storage]\ndirectory = "data"',
        f'[storage]\nmin_free_bytes = {2**62}\ndirectory = "data"',
    )


def self_signed(daemon: Daemon) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90"),
            *("-subj", "/CN=smtp.a.mssante.fr", "-keyout", daemon.folder / "pki/server.key"),
            *("-out", daemon.folder / "pki/server.pem"),
        ],
        check=True,
        capture_output=True,
    )


def foreign(daemon: Daemon) -> None:
    space = TrustSpace.create(utc_now())
    own = space.enrol("smtp.a.mssante.fr", "OPERATEUR A")
    write_identity(own, space.hierarchy, daemon.folder / "pki", "server")


def leaf_alone(daemon: Daemon) -> None:
    path = daemon.folder / "pki" / "server.pem"
    path.write_bytes(read_pem(path.read_bytes())[0].public_bytes(Encoding.PEM))


DOUBTED: dict[str, tuple[Callable[[Daemon], None], list[str]]] = {
    "no list": (without_list, ["without a white list all mail gets 451"]),
    "CRLs": (spoil_crl, ["root.crl: unreadable", "intermediate.crl: CRL unreadable: No such file"]),
    "the disk": (low_disk, ["mail gets 452; free some space, or lower the limits"]),
    "self-signed": (self_signed, ["tls.certificate: self-signed certificate: peers refuse it"]),
    "of others": (foreign, ["tls.certificate: certificate refused by peers: "]),
    "leaf alone": (leaf_alone, ["intermediate certificate missing in this file"]),
    "another host": (
        lambda d: change(d, "smtp.a.mssante.fr", "mx.a.mssante.fr"),
        ["certificate for smtp.a.mssante.fr, not for operator.hostname (mx.a.mssante.fr)"],
    ),
    "late alarm": (
        lambda d: change(d, "[whitelist]", "[whitelist]\nstale_hours = 200"),
        ["whitelist.stale_hours: 200 is not below expired_hours (168)"],
    ),
    "open metrics": (
        lambda d: change(d, d.admin, f"0.0.0.0:{PORT}"),
        ["admin.listen: metrics are public", "(0.0.0.0"],
    ),
    "a crowd": (
        lambda d: change(d, "workers = 1", "workers = 500"),
        ["process.workers: 500 processes for"],
    ),
    "scanners": (
        lambda d: change(d, "[log]", '[scan]\nclamav = "127.0.0.1:1"\n\n[log]'),
        ["scan.clamav: cannot connect", "messages are deferred"],
    ),
}


@pytest.mark.binds_elsewhere
@pytest.mark.parametrize("fault", DOUBTED)
def test_doubt_is_what_starts_and_may_not_be_meant(daemon: Daemon, fault: str) -> None:
    spoil, says = DOUBTED[fault]
    spoil(daemon)
    found = findings(daemon, 0)
    doubts = "\n".join(detail for _, ok, detail in found if ok == "DOUBT")
    assert [text for text in says if text not in doubts] == [], found
    daemon.run("config", "check", "--strict", code=1)


def test_all_in_order(daemon: Daemon) -> None:
    assert {ok for _, ok, _ in findings(daemon, 0)} == {"yes"}
    daemon.run("config", "check", "--strict")


def test_revocation_lists_that_are_named_are_read_before_the_first_start(daemon: Daemon) -> None:
    for path in (daemon.folder / "data" / "crl").iterdir():
        path.unlink()
    assert {ok for _, ok, _ in findings(daemon, 0)} == {"yes"}
    assert list((daemon.folder / "data" / "crl").iterdir()) == []  # a check changes nothing


def test_a_daemon_at_work_has_its_addresses(daemon: Daemon) -> None:
    with served(daemon):
        found = findings(daemon, 0)
        assert any("in use by the running daemon" in detail for _, _, detail in found)
        assert {ok for _, ok, _ in found} == {"yes"}


def test_an_address_of_another_program_is_not_the_daemons(daemon: Daemon) -> None:
    with served(daemon), socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        listen(daemon.endpoint, taken)(daemon)
        [refused] = [detail for _, ok, detail in findings(daemon, 1) if ok == "NO"]
        assert f"cannot listen on {taken}: Address already in use" in refused
        daemon.hang_up()
        until_now(lambda: "reload.refused" in daemon.log(), 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")
def test_files_of_others_and_root_on_a_store_of_others(daemon: Daemon) -> None:
    keys = daemon.folder / "data" / "keys"
    os.chown(keys, 12345, -1)
    [doubt] = [detail for _, ok, detail in findings(daemon, 0) if ok == "DOUBT"]
    assert f"{keys}: wrong owner, not root like the folder; run: chown -R root " in doubt
    os.chown(daemon.folder / "data", 12345, -1)
    assert any("belongs to the user #12345" in detail for _, _, detail in findings(daemon, 1))
    for words in (("serve",), ("db", "upgrade")):
        assert "run the command as the daemon's user: sudo -u '#12345'" in daemon.run(
            *words, code=1
        )


class TestOwnCertificate:
    """Doubts about the own certificate at a given time."""

    NOW = utc_now()

    def doubts(self, own: Credential, at: timedelta, hostname: str) -> list[str]:
        hierarchy = federation().space.hierarchy
        trust = TrustStore(
            (hierarchy.root.certificate,),
            (hierarchy.intermediate.certificate,),
            revocation=RevocationPolicy.REFUSE,
        )
        chain = [own.certificate, hierarchy.intermediate.certificate]
        return list(own_certificate.doubts(chain, trust, hostname, self.NOW + at))

    def test_its_end_comes_near(self) -> None:
        own = federation().operators["a"]
        name = "smtp.a.mssante.fr"
        assert self.doubts(own, timedelta(0), name) == []
        [soon] = self.doubts(own, timedelta(days=3 * 365 - 30), name)
        assert soon.startswith("certificate expires on ")
        [over] = self.doubts(own, timedelta(days=3 * 365 + 1), name)
        assert over.startswith("certificate refused by peers: certificate has expired")

    @pytest.mark.parametrize(
        ("names", "hostname", "fine"),
        [
            (["*.a.mssante.fr"], "smtp.a.mssante.fr", True),
            (["*.a.mssante.fr"], "a.mssante.fr", False),
            (["*.a.mssante.fr"], "x.smtp.a.mssante.fr", False),
            (["x.fr", "SMTP.a.mssante.fr"], "smtp.A.mssante.fr", True),
            (["x.fr"], "smtp.a.mssante.fr", False),
            ([], "smtp.a.mssante.fr", True),  # by its common name
        ],
    )
    def test_the_host_it_is_for(self, names: list[str], hostname: str, *, fine: bool) -> None:
        space = federation().space
        subject = Subject("smtp.a.mssante.fr", "1750000002", "OPERATEUR A", "Paris (75)")
        own = space.hierarchy.issue_server(subject, names, Lifetime.of_leaf(self.NOW))
        found = self.doubts(own, timedelta(0), hostname)
        assert (found == []) is fine, found


def test_a_certificate_that_nobody_believes_is_not_ready(daemon: Daemon) -> None:
    self_signed(daemon)
    with served(daemon):
        status, text = get(daemon, "/readyz")
        assert status == 503
        assert "certificate: pki/server.pem: " in text


def test_a_scanner_that_never_answers_is_not_ready(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and sends nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        change(daemon, "[log]", f'[scan]\nclamav = "{address}"\n\n[log]')
        with served(daemon):
            until_now(lambda: get(daemon, "/readyz")[0] == 503, 30)
            assert "scan.clamav: no answer within 10 s" in get(daemon, "/readyz")[1]
            assert 'mssante_alarm{name="scanner"} 1.0' in get(daemon, "/metrics")[1]


def test_a_new_store_starts_without_errors_and_alarms(daemon: Daemon) -> None:
    for entry in ("crl", "whitelist"):
        for path in (daemon.folder / "data" / entry).iterdir():
            path.unlink()
    with served(daemon):
        until_now(lambda: get(daemon, "/readyz")[0] == 200)
        until_now(lambda: 'name="crl-lacking"} 0.0' in get(daemon, "/metrics")[1])
    log = daemon.log()
    assert "alarm.raised" not in log
    assert "error" not in log


def test_the_reference_serves_in_the_folder_that_init_made(daemon: Daemon) -> None:
    text = daemon.run("config", "reference")
    for default, free in (
        ('# listen = ["127.0.0.1:2525"]', f'listen = ["{daemon.endpoint}"]'),
        ('# listen = "127.0.0.1:9180"', f'listen = "{daemon.admin}"'),  # other tests may use these
    ):
        assert default in text
        text = text.replace(default, free)
    daemon.config.write_text(text)
    found = findings(daemon, 0)
    assert "NO" not in {ok for _, ok, _ in found}, found
