"""Places of anchors: file, syslog and mail get whole lines, or the place has failed."""

import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailstore.audit.statement import SignedStatement, Statement, find_anchors
from mssante_operator.assembly.people.anchor_places import (
    FilePlace,
    LocalSyslogPlace,
    SyslogPlace,
    anchor_message,
)
from tests.support.clock import NOW

ANCHORS = [
    SignedStatement(
        Statement(number, 0, bytes(32), {chain: (1, bytes(32)) for chain in range(1, 30)}).text(),
        b"s" * 64,
        b"k" * 32,
    )
    for number in (7, 8)
]


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    place = FilePlace("file:anchors", tmp_path / "anchors")
    place.send(ANCHORS[:1])
    with place.path.open("a") as file:
        file.write('{"audit_anchor": half a li')  # left by a full disk
    place.send(ANCHORS[1:])
    assert find_anchors(place.path.read_text()).anchors == ANCHORS
    assert place.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FilePlace("file:x", tmp_path / "no folder" / "anchors").send(ANCHORS)


def test_the_syslog_daemon_of_this_machine_gets_a_datagram_each(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(5)
        daemon.bind(str(tmp_path / "log"))
        LocalSyslogPlace("syslog:unix", tmp_path / "log").send(ANCHORS)
        lines = [daemon.recv(65_536).decode() for _ in ANCHORS]
    assert lines[0].startswith("<85>mssante[")
    assert find_anchors("\n".join(lines)).anchors == ANCHORS


def test_without_a_syslog_daemon_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        LocalSyslogPlace("syslog:unix", tmp_path / "log").send(ANCHORS)


@contextmanager
def syslog_server() -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection; its port and what it has read, once left."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def listen() -> None:
            link, _ = server.accept()
            with link:
                while octets := link.recv(65_536):
                    heard.append(octets)

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join()


def test_a_syslog_server_gets_counted_messages() -> None:
    with syslog_server() as (port, heard):
        SyslogPlace("syslog:x", "127.0.0.1", port, "smtp.a.mssante.fr", lambda: NOW).send(ANCHORS)
    octets = b"".join(heard)
    messages = []
    while octets:  # RFC 6587 §3.4.1
        count, _, octets = octets.partition(b" ")
        messages.append(octets[: int(count)].decode())
        octets = octets[int(count) :]
    assert messages[0].startswith(
        "<85>1 2026-11-22T10:11:12.131415+00:00 smtp.a.mssante.fr mssante "
    )
    assert find_anchors("\n".join(messages)).anchors == ANCHORS


def test_without_a_syslog_server_it_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=r"."):
        SyslogPlace("syslog:x", "127.0.0.1", port, "host", lambda: NOW).send(ANCHORS)


def test_a_message_carries_the_lines_unchanged() -> None:
    octets = anchor_message(
        ANCHORS, sender="a@a.mssante.fr", to="b@b.mssante.fr", message_id="i@a", at=NOW
    )
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    assert octets.isascii()
    message = email.message_from_bytes(octets, policy=email.policy.default)
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "anchors-7-8.jsonl"
    assert message["Subject"] == "Piste d'audit : ancre 8"
    content = attached.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert find_anchors(content.decode()).anchors == ANCHORS
