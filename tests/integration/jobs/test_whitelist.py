"""White list and trust in operation: refresh, history, alarms."""

import json
import os
import shutil
import smtplib
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509

from mssante_operator.assembly.clock import utc_now
from mssante_operator.setup.testbed.signed_list import ListedDomain, build_signed_list
from tests.support.lists.list_files import FULL, alarms, put, signed
from tests.support.machines.daemon import Daemon, client, federation, get, lay_out, served
from tests.support.machines.tls_settings import configure
from tests.support.peers.https_server import host, reply, serving
from tests.support.waiting import until_now
from whitelist.national.archive import Archive
from whitelist.pki.distinguished_name import DistinguishedName


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def respelt(hours: float, **departments: str) -> bytes:
    """List, generated `hours` from now, whose DNs differ only in the spelling of the department."""
    space = federation().space
    name = str(DistinguishedName.from_certificate(federation().operators["b"].certificate))
    assert "Paris (75)" in name
    entries = [
        ListedDomain(f"{domain}.mssante.fr", name.replace("Paris (75)", text), "Test", space.now)
        for domain, text in departments.items()
    ]
    return build_signed_list(entries, space.now + timedelta(hours=hours), space.signer)


def change(daemon: Daemon, old: str, new: str) -> None:
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))


class TestRefresh:
    def test_from_a_file(self, daemon: Daemon) -> None:
        put(daemon, signed(1, **FULL, d="b"))
        said = json.loads(daemon.run("whitelist", "refresh", "--json"))
        assert (said["adopted"], said["domains"], said["source"]) == (True, 4, "file")
        again = json.loads(daemon.run("whitelist", "refresh", "--json"))
        assert again["adopted"] is False

    def test_from_a_folder(self, daemon: Daemon) -> None:
        change(daemon, 'file = "whitelist/listeblanchemssante.xml"', 'file = "push"')
        folder = daemon.folder / "push"
        folder.mkdir()
        path = folder / "2026.xml"
        path.write_bytes(signed(1, **FULL, d="b"))
        os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
        said = json.loads(daemon.run("whitelist", "refresh", "--json"))
        assert (said["domains"], said["source"]) == (4, "push")

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (lambda: signed(-1, **FULL), "rollback"),  # DOMAIN §9.6
            (lambda: signed(48, **FULL), "future-date"),
            (lambda: signed(1, a="a", b="b"), "shrunk"),  # DOMAIN §9.12
            (lambda: signed(1, **FULL)[:-9], "not-well-formed"),
        ],
    )
    def test_refusals_keep_the_list_in_force(self, daemon: Daemon, data: object, says: str) -> None:
        assert callable(data)
        before = json.loads(daemon.run("whitelist", "status", "--json"))["digest"]
        put(daemon, data())
        said = daemon.run("whitelist", "refresh", code=1)
        assert said.startswith(f"mssante: {says}: ")
        assert said.count("\n") == 1
        assert json.loads(daemon.run("whitelist", "status", "--json"))["digest"] == before

    def test_a_shrink_is_adopted_on_demand(self, daemon: Daemon) -> None:
        put(daemon, signed(1, a="a", b="b"))
        assert "--accept-shrink" in daemon.run("whitelist", "refresh", code=1)
        daemon.run("whitelist", "refresh", "--accept-shrink")
        (_, last) = json.loads(daemon.run("whitelist", "history", "--json"))
        assert (last["domains"], last["accepted_shrink"]) == (2, True)

    def test_many_other_certificates_wait_for_a_person(self, daemon: Daemon) -> None:
        # The same guard as for domains that vanish, with a clear difference.
        put(daemon, signed(1, a="a", b="c", c="c"))
        said = daemon.run("whitelist", "refresh", code=1)
        assert said.startswith("mssante: recertified: of the 3 domains of the list in force ")
        assert "1 domains such as b.mssante.fr change from CN=smtp.b.mssante.fr," in said
        assert " to CN=smtp.c.mssante.fr," in said
        assert said.count("\n") == 1
        daemon.run("whitelist", "refresh", "--accept-shrink")
        (_, last) = json.loads(daemon.run("whitelist", "history", "--json"))
        changes = (last["added"], last["removed"], last["recertified"])
        assert (*changes, last["accepted_shrink"]) == (0, 0, 1, True)
        with served(daemon):
            shown = get(daemon, "/metrics")[1]
        assert 'mssante_whitelist_changed_domains{change="recertified"} 1.0' in shown
        assert 'mssante_whitelist_changed_domains{change="added"} 0.0' in shown

    def test_by_https(self, daemon: Daemon, tmp_path: Path) -> None:
        # DOMAIN §9.1: only the configured authorities count.
        lists = [signed(1, **FULL, d="b")]

        def answer(handler: BaseHTTPRequestHandler) -> None:
            reply(handler, 200, lists[-1], ETag='"1"')

        ours = host("localhost", federation().space.hierarchy)
        with serving(tmp_path, answer, ours) as server:
            change(daemon, "[whitelist]\n", f'[whitelist]\nurl = "{server.url}"\n')
            said = json.loads(daemon.run("whitelist", "refresh", "--json"))
            assert (said["domains"], said["source"]) == (4, "url")

    def test_another_authority_is_not_believed(self, daemon: Daemon, tmp_path: Path) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            reply(handler, 200, signed(1, **FULL, d="b"))

        with serving(tmp_path, answer, host("localhost")) as server:
            change(
                daemon,
                'file = "whitelist/listeblanchemssante.xml"',
                f'url = "{server.url}"\nfetch_timeout_seconds = 1',
            )
            said = daemon.run("whitelist", "refresh", code=1)
        assert said.startswith(f"mssante: unreachable: {server.url}: its certificate is not trust")

    def test_a_list_too_large_is_refused_by_its_url(
        self, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("whitelist.refresh.list_refresh.MAX_LIST_BYTES", 100)

        def answer(handler: BaseHTTPRequestHandler) -> None:
            reply(handler, 200, b"x" * 101)

        ours = host("localhost", federation().space.hierarchy)
        with serving(tmp_path, answer, ours) as server:
            change(daemon, "[whitelist]\n", f'[whitelist]\nurl = "{server.url}"\n')
            said = daemon.run("whitelist", "refresh", code=1)
        problem = f"{server.url}: more than 100 octets; check that this is the white list"
        assert said == f"mssante: too-large: {problem}\n"

    def test_a_dead_url_falls_back_to_the_file(self, daemon: Daemon) -> None:
        change(daemon, "[whitelist]\n", '[whitelist]\nurl = "https://127.0.0.1:1/list.xml"\n')
        put(daemon, signed(1, **FULL, d="b"))
        lines = daemon.run("whitelist", "refresh", "--json")
        assert '"source": "file"' in lines


class TestHistory:
    def test_versions_and_what_changed(self, daemon: Daemon) -> None:
        put(daemon, signed(1, a="a", b="c", d="b"))
        daemon.run("whitelist", "refresh", "--accept-shrink")
        first, second = json.loads(daemon.run("whitelist", "history", "--json"))
        assert first["digest"] != second["digest"]
        assert second["signer"].startswith("CN=alb.mssante.fr,")
        rows = json.loads(daemon.run("whitelist", "diff", first["digest"][:12], "active", "--json"))
        found = {(row["change"], row["domain"]) for row in rows}
        assert found == {
            ("added", "d.mssante.fr"),
            ("removed", "c.mssante.fr"),
            ("recertified", "b.mssante.fr"),
        }
        changed = next(row for row in rows if row["change"] == "recertified")
        assert changed["names_added"][0].startswith("CN=smtp.c.mssante.fr,")
        assert daemon.run("whitelist", "diff", "--json") == json.dumps(rows, indent=2) + "\n"

    @pytest.mark.parametrize("loose", [True, False])
    def test_departments_are_compared_as_the_daemon_does(
        self, daemon: Daemon, *, loose: bool
    ) -> None:
        # DOMAIN §9.8
        if loose:
            change(daemon, "[whitelist]\n", "[whitelist]\nloose_department = true\n")
        put(daemon, respelt(1, b="Paris(75)", d="Paris (75)"))
        daemon.run("whitelist", "refresh", "--accept-shrink")
        rows = json.loads(daemon.run("whitelist", "diff", "--json"))
        changes = {(row["change"], row["domain"]) for row in rows}
        assert (("recertified", "b.mssante.fr") in changes) is not loose
        path = str(daemon.folder / "whitelist" / "listeblanchemssante.xml")
        found = json.loads(daemon.run("whitelist", "verify", path, "--json"))
        assert (found["domains"], found["names"]) == (2, 1 if loose else 2)

    def test_an_unknown_version(self, daemon: Daemon) -> None:
        said = daemon.run("whitelist", "diff", "abcdef123456", "active", code=1)
        assert "means none of the lists kept" in said


class TestDaemon:
    def test_adoption_reaches_sessions_under_way(self, daemon: Daemon) -> None:
        # DOMAIN §9.12: within a second, without a restart, without touching a session.
        configure(daemon, "inbound", max_errors=100_000)  # refused until the list is there
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            assert smtp.mail("dr@d.mssante.fr")[0] == 550
            put(daemon, signed(1, **FULL, d="b"))
            until_now(lambda: _mail(smtp, "dr@d.mssante.fr") == 250)

    def test_what_falls_out_of_the_list_is_refused_and_alarmed(self, daemon: Daemon) -> None:
        change(daemon, "[whitelist]\n", "[whitelist]\nmax_shrink = 1\n")
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            assert alarms(daemon) == set()
            put(daemon, signed(1, a="b", b="c", c="c"))
            until_now(lambda: _mail(smtp, "dr@b.mssante.fr") == 550)
            until_now(lambda: alarms(daemon) == {"own-domain"})
            assert get(daemon, "/readyz")[0] == 200
            assert "does not list" not in daemon.log()
            until_now(lambda: "a.mssante.fr with CN=smtp.b.mssante.fr" in daemon.log())

    def test_ages(self, daemon: Daemon) -> None:
        # DOMAIN §2.6: fresh, stale with an alarm, expired with 451; /readyz tells them apart.
        (daemon.folder / "whitelist" / "listeblanchemssante.xml").unlink()
        archive = Archive(daemon.folder / "data" / "whitelist")
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            assert _mail(smtp, "dr@b.mssante.fr") == 250
            archive.record_check(utc_now() - timedelta(hours=25))
            until_now(lambda: alarms(daemon) == {"list-stale", "list-refused"})
            assert _mail(smtp, "dr@b.mssante.fr") == 250
            status, said = get(daemon, "/readyz")
            assert (status, json.loads(said)["white_list"]) == (200, "stale")
            archive.record_check(utc_now() - timedelta(days=8))
            until_now(lambda: _mail(smtp, "dr@b.mssante.fr") == 451)
            until_now(lambda: alarms(daemon) == {"list-expired", "list-refused"})
            status, said = get(daemon, "/readyz")
            assert (status, json.loads(said)["white_list"]) == (503, "expired")
            archive.record_check(utc_now())
            until_now(lambda: _mail(smtp, "dr@b.mssante.fr") == 250)

    def test_revocation_reaches_sessions_under_way(self, daemon: Daemon) -> None:
        # DOMAIN §9.15, §9.62
        space = federation().space
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            assert _mail(smtp, "dr@b.mssante.fr") == 250
            smtp.quit()
            path = daemon.folder / "pki" / "intermediate.crl"
            revoked = space.crl(space.hierarchy.intermediate, [federation().operators["b"]])
            path.write_bytes(revoked)
            until_now(lambda: _new_session(daemon) == 554)
            until_now(lambda: "Client certificate refused: revoked" in daemon.log())

    def test_a_new_file_in_a_folder_is_in_force_at_once(self, daemon: Daemon) -> None:
        # Copied, not moved, into the folder: the file is not read while it may grow.
        change(daemon, 'file = "whitelist/listeblanchemssante.xml"', 'file = "whitelist"')
        configure(daemon, "inbound", max_errors=100_000)
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            assert smtp.mail("dr@d.mssante.fr")[0] == 550
            (daemon.folder / "whitelist" / "new.xml").write_bytes(signed(1, **FULL, d="b"))
            until_now(lambda: _mail(smtp, "dr@d.mssante.fr") == 250)

    def test_a_fault_of_seconds_loses_no_list(self, daemon: Daemon) -> None:
        # A list that could not be adopted is tried again soon, even if its file does not change.
        lock = daemon.folder / "data" / "whitelist" / "lock"
        change(daemon, "[whitelist]\n", "[whitelist]\nmax_shrink = 1\n")
        configure(daemon, "inbound", max_errors=100_000)
        with served(daemon), client(daemon, "b") as smtp:
            smtp.ehlo()
            lock.unlink()
            lock.mkdir()
            put(daemon, signed(1, a="b", b="c", c="c"))
            until_now(lambda: "cannot be written (Is a directory)" in daemon.log())
            assert _mail(smtp, "dr@b.mssante.fr") == 250
            lock.rmdir()
            until_now(lambda: _mail(smtp, "dr@b.mssante.fr") == 550)

    def test_not_ready_while_all_mail_is_put_off(self, daemon: Daemon) -> None:
        # DOMAIN §9.62: without a revocation list of an authority, its certificates get 451.
        path = daemon.folder / "pki" / "intermediate.crl"
        aside = path.rename(path.with_suffix(".aside"))
        for kept in (daemon.folder / "data" / "crl").iterdir():
            kept.unlink()
        with served(daemon):
            until_now(lambda: "crl-lacking" in alarms(daemon))
            assert _new_session(daemon) == 451
            lacking = "revocation lists: no revocation list of CN=TEST AC IGC-SANTE"
            until_now(lambda: lacking in get(daemon, "/readyz")[1])
            assert get(daemon, "/readyz")[0] == 503
            aside.rename(path)
            until_now(lambda: _new_session(daemon) == 250)
            until_now(lambda: get(daemon, "/readyz")[0] == 200)
            assert "crl-lacking" not in alarms(daemon)

    def test_removed_lists_come_back_without_a_restart(self, daemon: Daemon) -> None:
        folder = daemon.folder / "data" / "crl"
        with served(daemon):
            (folder / "stray.crl").write_text("no list")
            until_now(lambda: "crl-source" in alarms(daemon))
            shutil.rmtree(folder)
            assert _new_session(daemon) == 250
            until_now(lambda: len(list(folder.glob("*.crl"))) == 2)
            assert _new_session(daemon) == 250
            until_now(lambda: alarms(daemon) == set())

    def test_a_renewed_certificate_serves_without_a_restart(self, daemon: Daemon) -> None:
        # DOMAIN §9.61
        space = federation().space
        renewed = space.enrol("smtp.a.mssante.fr", "OPERATEUR A")
        with served(daemon), client(daemon, "b") as kept:
            kept.ehlo()
            assert _shown(daemon) == federation().operators["a"].certificate.serial_number
            pki = daemon.folder / "pki"
            renewed.save(pki / "server.pem", pki / "server.key")
            until_now(lambda: _shown(daemon) == renewed.certificate.serial_number)
            assert kept.noop()[0] == 250


def _mail(smtp: smtplib.SMTP, sender: str) -> int:
    smtp.rset()
    return smtp.mail(sender)[0]


def _new_session(daemon: Daemon) -> int:
    with client(daemon, "b") as smtp:
        smtp.ehlo()
        return smtp.mail("dr@b.mssante.fr")[0]


def _shown(daemon: Daemon) -> int:
    with client(daemon, "b") as smtp:
        der = smtp.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
        return x509.load_der_x509_certificate(der).serial_number
