"""Another program holds SQLite's write lock: reported at once, and over with the lock."""

import json
import smtplib
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from tests.support.machines.daemon import Daemon, client, get, lay_out, served

MESSAGE = b"From: x@b.mssante.fr\r\nSubject: s\r\n\r\nBonjour.\r\n"
SENDER, RECIPIENT = "x@b.mssante.fr", "claire.martin@a.mssante.fr"


def _readiness(daemon: Daemon, status: int) -> list[str]:
    """Wait until `/readyz` answers with a status; returns its problems."""
    deadline = time.monotonic() + 25
    while True:
        found, text = get(daemon, "/readyz")
        if found == status:
            problems: list[str] = json.loads(text)["problems"]
            return problems
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_a_write_lock_is_told_and_mail_put_off_at_once(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    path = daemon.folder / "data" / "mssante.db"
    with served(daemon):
        _readiness(daemon, 200)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        [problem] = _readiness(daemon, 503)
        assert problem.startswith(f"store: another program has held the write lock of {path} for")
        assert problem.endswith(f"find it: fuser {path}")
        _, metrics = get(daemon, "/metrics")
        assert 'mssante_alarm{name="spool"} 1.0' in metrics
        code = 250
        deadline = time.monotonic() + 20  # for the worker's disk guard
        while code == 250 and time.monotonic() < deadline:
            with client(daemon, "b") as smtp:  # the reply must not take 30 seconds
                smtp.ehlo("smtp.b.mssante.fr")
                code, text = smtp.mail(SENDER)
        assert (code, text[:5]) == (451, b"4.3.0")
        holder.close()
        assert _readiness(daemon, 200) == []
        _send_until_taken(daemon)
        assert len(daemon.entries(RECIPIENT)) == 1


def _send_until_taken(daemon: Daemon) -> None:
    """Send like a peer after a deferral."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with client(daemon, "b") as smtp, suppress(smtplib.SMTPSenderRefused):
            smtp.sendmail(SENDER, [RECIPIENT], MESSAGE)
            return
    raise AssertionError("refused for 20 seconds")
