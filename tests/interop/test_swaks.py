"""swaks, a common test tool of mail administrators, against the running daemon."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.daemon import Daemon, federation, lay_out, served
from tests.support.rules import needs
from tests.support.sessions.exchange import CARDIOLOGY, MARTIN
from tests.support.sessions.letters import UNTOUCHABLE

SWAKS = shutil.which("swaks")


def able() -> bool:
    """Whether swaks is installed, with the Perl module for TLS."""
    probe = ["perl", "-e", "use Net::SSLeay"]
    return (
        SWAKS is not None
        and subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not able(), reason=needs.program("swaks with TLS", "swaks libnet-ssleay-perl")
)


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with served(lay_out(tmp_path_factory.mktemp("a"), "a", workers=1)) as daemon:
        yield daemon


def swaks(daemon: Daemon, *words: str | Path) -> tuple[int, str]:
    """Send to Dr Martin; returns swaks' exit code and its transcript."""
    assert SWAKS is not None
    to = ("--server", "127.0.0.1", "--port", str(daemon.port), "--to", MARTIN)
    envelope = ("--helo", "smtp.b.mssante.fr", "--from", "dr@b.mssante.fr")
    done = subprocess.run(
        [SWAKS, *to, *envelope, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_message_arrives_octet_for_octet(operator_a: Daemon, tmp_path: Path) -> None:
    # Without its "fixup", swaks sends the file unchanged: with doubled dots and the final dot.
    data = tmp_path / "data"
    data.write_bytes(UNTOUCHABLE.replace(b"\r\n.", b"\r\n..") + b".")
    certificate, key = operator_a.identity("b")
    code, said = swaks(
        operator_a,
        *("--tls", "--tls-cert", certificate, "--tls-key", key),
        *("--no-data-fixup", "--data", f"@{data}"),
    )
    assert code == 0, said
    (entry,) = operator_a.entries(MARTIN)
    assert operator_a.body(entry) == UNTOUCHABLE
    assert entry.message.sender == "dr@b.mssante.fr"
    assert f"by smtp.a.mssante.fr with ESMTPS id {entry.message.id}" in entry.message.trace


def test_commands_in_one_packet(operator_a: Daemon) -> None:
    # RFC 2920; swaks has no BDAT.
    certificate, key = operator_a.identity("b")
    code, said = swaks(
        operator_a,
        *("--tls", "--tls-cert", certificate, "--tls-key", key),
        *("--pipeline", "--to", f"{MARTIN},{CARDIOLOGY}"),
    )
    assert code == 0, said
    words = [line[4:8] for line in said.splitlines() if line[:3] in {" ~>", "<~ "}]
    mail = words.index("MAIL")
    assert words[mail : mail + 7] == ["MAIL", "RCPT", "RCPT", "DATA", "250 ", "250 ", "250 "], said
    (entry,) = operator_a.entries(CARDIOLOGY)
    assert entry.message.sender == "dr@b.mssante.fr"


def test_it_can_verify_our_certificate(operator_a: Daemon, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(federation().space.hierarchy.root.certificate_pem)
    certificate, key = operator_a.identity("b")
    # swaks of Debian 13 verifies the host name and has an option for it; Debian 12's does not.
    assert SWAKS is not None
    knows = "--tls-verify-target" in Path(SWAKS).read_text(encoding="utf-8", errors="replace")
    name = ("--tls-verify-target", "smtp.a.mssante.fr") if knows else ()
    code, said = swaks(
        operator_a,
        *("--tls", "--tls-verify", *name, "--tls-ca-path", root),
        *("--tls-cert", certificate, "--tls-key", key, "--quit-after", "TLS"),
    )
    assert code == 0, said


def test_without_a_certificate_it_is_refused(operator_a: Daemon) -> None:
    # DOMAIN §9.15, §9.16
    code, said = swaks(operator_a, "--tls")
    assert code != 0
    assert "<~* 554 5.7.1 " in said, said


def test_without_tls_it_is_refused(operator_a: Daemon) -> None:
    # DOMAIN §9.14, RFC 3207 §4
    code, said = swaks(operator_a)
    assert code != 0
    assert "<** 530 5.7.0 " in said, said
