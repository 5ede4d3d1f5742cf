"""`mssante whitelist explain`: the verdict on a peer or a server, rule by rule."""

import json
from pathlib import Path

import pytest

from tests.support.lists.odd_certificates import odd
from tests.support.machines.daemon import Daemon, federation, lay_out, served


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


class TestExplain:
    def test_a_live_server(self, tmp_path: Path, daemon: Daemon) -> None:
        b = lay_out(tmp_path / "b", "b")
        with served(b):
            words = ("whitelist", "explain", "server", "--connect", b.endpoint, "--domain")
            good = json.loads(daemon.run(*words, "b.mssante.fr", "--json"))
            assert [row["result"] for row in good] == ["passed"] * len(good)
            assert {"tls", "certificate", "chain", "name"} <= {row["rule"] for row in good}
            assert "CRLs serve until" in next(r for r in good if r["rule"] == "chain")["evidence"]
            bad = daemon.run(*words, "c.mssante.fr", code=1)
            assert "not listed for c.mssante.fr" in bad
            assert bad.endswith("verdict: mail is held\n")
            older = ("whitelist", "explain", "--connect", b.endpoint, "--domain")
            assert json.loads(daemon.run(*older, "b.mssante.fr", "--json")) == good

    def test_nobody_there(self, daemon: Daemon) -> None:
        words = ("--connect", "127.0.0.1:1", "--domain", "b.mssante.fr")
        said = daemon.run("whitelist", "explain", "server", *words, code=1)
        assert said.startswith("mssante: 127.0.0.1: ")
        assert said.count("\n") == 1

    def test_evidence(self, daemon: Daemon) -> None:
        certificate, _ = daemon.identity("b")
        words = ("--certificate", str(certificate), "--from", "dr@b.mssante.fr", "--json")
        said = daemon.run("whitelist", "explain", "peer", *words)
        rows = {r["rule"]: r for r in json.loads(said)}
        # Without a session TLS facts are not evidence.
        assert rows["tls"]["result"] == "not checked"
        assert "TLS" not in rows["tls"]["evidence"]
        assert "CRLs serve until" in rows["chain"]["evidence"]
        assert "is listed with CN=smtp.b.mssante.fr," in rows["sender"]["evidence"]
        assert "presented CN=smtp.b.mssante.fr," in rows["sender"]["evidence"]
        assert daemon.run("whitelist", "explain", *words) == said  # the older form

    def test_the_author_is_judged_as_in_a_session(self, daemon: Daemon) -> None:
        certificate, _ = daemon.identity("b")
        words = ("--certificate", str(certificate), "--from", "dr@b.mssante.fr", "--header-from")
        for form in ((), ("peer",)):
            said = daemon.run("whitelist", "explain", *form, *words, "dr@a.mssante.fr", code=1)
            assert "verdict: 550 5.7.1" in said
            daemon.run("whitelist", "explain", *form, *words, "dr@b.mssante.fr")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ((), "options missing; add --certificate and --from, or --connect and --domain"),
            (("--connect", "127.0.0.1:25"), "options missing; add --certificate and --from, or"),
            (("--from", "", "peer"), "write them after: peer"),
            (("--json", "server"), "write them after: server"),
            (("peer", "--from", ""), "Missing option '--certificate'"),
            (("server", "--domain", "b.mssante.fr"), "Missing option '--connect'"),
            (("server", "--connect", "x", "--domain", "b.mssante.fr"), "--connect: "),
        ],
    )
    def test_usage(self, daemon: Daemon, words: tuple[str, ...], says: str) -> None:
        assert says in daemon.run("whitelist", "explain", *words, code=2)

    @pytest.mark.parametrize(
        ("kind", "verdict"),
        [
            ("server-only", "250 accepted"),
            ("mail-only", "554 5.7.1 Client certificate refused: wrong-usage"),
            ("rsa-1024", "554 5.7.1 Client certificate refused: weak-cryptography"),
            ("sha-1", "554 5.7.1 Client certificate refused: weak-cryptography"),
        ],
    )
    def test_it_says_what_a_session_is_told(self, kind: str, verdict: str, daemon: Daemon) -> None:
        # The same certificates come to a session in
        # tests/integration/relay/server/test_any_certificate.py.
        authority = federation().space.hierarchy.intermediate
        made = odd(kind, federation().operators["b"], authority)
        certificate = daemon.folder / "odd.pem"
        certificate.write_bytes(made.certificate_pem)
        words = ("--certificate", str(certificate), "--from", "dr@b.mssante.fr")
        said = daemon.run(
            "whitelist", "explain", "peer", *words, code=int(verdict != "250 accepted")
        )
        assert said.endswith(f"verdict: {verdict}\n")
        assert ("lacks clientAuth" in said) == (kind == "server-only")
