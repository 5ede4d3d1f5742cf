"""Content of an operator of version 0.1.0; `tools/past_version.py` runs it with that code.

Two mailboxes get small and large bodies, under two keys; others are in each state, with a quota, a
description. The queue gets mail for another operator: tried in vain, held, and not yet tried. The
file `expected.json` has the expected domains, mailboxes, messages and queue.
"""

import hashlib
import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import relay

# Version 0.1.0 had its modules elsewhere.
main = import_module("mssante_operator.cli").main

MAILBOXES: Final = ("cardiologie@a.mssante.fr", "claire.martin@a.mssante.fr")
SENDER: Final = "claire.martin@a.mssante.fr"
PEER: Final = "dr.pair@pair.mssante.fr"
HELD: Final = "retenu@pair.mssante.fr"
# By address: type and identifier, then what is done to it.
OTHERS: Final = {
    "Dr.Éva+b@a.mssante.fr": (
        ("PER", "--adeli", "012345678", "--description", "Dr Éva Ben", "--quota", "5M"),
        (("suspend",),),
    ),
    "ferme@a.mssante.fr": (("PER", "--rpps", "10000005479"), (("close",),)),
    "repris@a.mssante.fr": (("PER", "--rpps", "10000005479"), (("suspend",), ("resume",))),
    "labo@a.mssante.fr": (("APP", "--siret", "73282932000074"), (("quota", "1G"),)),
    "garde@a.mssante.fr": (("ORG", "--rpps", "10000001916"), ()),
    "pratique@vieux.mssante.fr": (("CAB", "--rpps", "10000001916"), ()),
}
SIZES: Final = (200, 300_000)  # in the database; in a file
_TRIED_SECONDS: Final = 60


def run(*words: str) -> bytes:
    """Run a command of `mssante` in this process; return its standard output."""
    out = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)):
        try:
            main(list(words))
        except SystemExit as end:
            if end.code:
                raise
        return out.getvalue()


def letter(number: int, size: int) -> bytes:
    """Return a message of about `size` octets."""
    line = f"Compte rendu {number}, é à ü. ".encode() + b"x" * 40 + b"\r\n"
    return (
        f"From: Dr Martin <{SENDER}>\r\nTo: Cardiologie <{MAILBOXES[0]}>\r\n"
        f"Subject: [FIN]\r\nMessage-ID: <past-{number}@a.mssante.fr>\r\n"
        "Date: Sun, 22 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ).encode() + line * (size // len(line) + 1)


class Filling:
    """An operator that is being filled."""

    def __init__(self, folder: Path, database: str) -> None:
        self.config = folder / "mssante.toml"
        self.folder = folder
        self.database = database
        self.letters = 0

    def mssante(self, *words: str) -> bytes:
        """Run a command of the operator."""
        return run("--config", str(self.config), *words)

    def install(self) -> None:
        """Create the operator, with a peer whose port nobody listens on."""
        inbound, admin, nobody = _free_endpoints(3)
        run("init", str(self.folder), "--listen", inbound, "--admin", admin)
        text = self.config.read_text(encoding="utf-8")
        outbound = "[outbound]\nretry_first_seconds = 3600\n\n[outbound.routes]\n"
        text = text.replace("[outbound.routes]\n", outbound) + f'"pair.mssante.fr" = "{nobody}"\n'
        if self.database:
            url = f'directory = "data"\ndatabase = {json.dumps(self.database)}'
            text = text.replace('directory = "data"', url)
        self.config.write_text(text, encoding="utf-8")
        if self.database:
            self.mssante("db", "upgrade")
            self.mssante("domain", "add", "a.mssante.fr")
            kinds = (
                ("--type", "ORG", "--finess", "750000002"),
                ("--type", "PER", "--rpps", "10000001916"),
            )
            for address, kind in zip(MAILBOXES, kinds, strict=True):
                self.mssante("mailbox", "add", address, *kind)

    def add_mailboxes(self) -> None:
        """Add mailboxes of each type and in each state, and another domain."""
        self.mssante("domain", "add", "Vieux.mssante.fr")
        for address, (kind, acts) in OTHERS.items():
            self.mssante("mailbox", "add", address, "--type", *kind)
            for verb, *words in acts:
                self.mssante("mailbox", verb, address, *words)

    def send(self, *recipients: str, sizes: Sequence[int] = SIZES) -> None:
        """Send a message of each size."""
        for size in sizes:
            self.letters += 1
            path = self.folder / "letter.eml"
            path.write_bytes(letter(self.letters, size))
            to = [word for address in recipients for word in ("--to", address)]
            self.mssante("message", "send", str(path), "--from", SENDER, *to)

    def queue(self) -> list[dict[str, Any]]:
        """The rows of the queue."""
        return list(json.loads(self.mssante("queue", "list", "--json")))

    def try_in_vain(self) -> None:
        """Let the daemon try all waiting mail once."""
        program = [sys.executable, "-m", "mssante_operator.cli", "--config", str(self.config)]
        with (self.folder / "serve.log").open("wb") as log:
            daemon = subprocess.Popen([*program, "serve"], stdout=log, stderr=log)
        end = time.monotonic() + _TRIED_SECONDS
        while any(
            not row["attempts"] or row["in_flight"] for row in self.queue() if not row["held"]
        ):
            if time.monotonic() > end or daemon.poll() is not None:
                sys.exit((self.folder / "serve.log").read_text(encoding="utf-8"))
            time.sleep(0.1)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)

    def digests(self) -> dict[str, dict[str, str]]:
        """SHA-256 of each message as a reader gets it, by mailbox and message."""
        found: dict[str, dict[str, str]] = {}
        for address in MAILBOXES:
            held = json.loads(self.mssante("message", "list", address, "--json"))
            found[address] = {
                one["id"]: hashlib.sha256(
                    self.mssante("message", "show", one["id"], "--content")
                ).hexdigest()
                for one in held
            }
        return found


def fill(folder: Path, database: str) -> None:
    """Create and fill the operator."""
    if Path.cwd() not in Path(relay.__file__).parents:
        sys.exit(f"not the past version: {relay.__file__}; run tools.past_version")
    filling = Filling(folder, database)
    filling.install()
    filling.add_mailboxes()
    filling.send(*MAILBOXES, PEER)
    filling.send(HELD, sizes=SIZES[:1])
    filling.mssante("keys", "rotate")
    filling.send(*MAILBOXES, PEER)
    filling.mssante("queue", "hold", "--recipient", HELD, "--reason", "essai")
    filling.try_in_vain()
    filling.send(PEER, sizes=SIZES[:1])
    expected = {
        "domains": json.loads(filling.mssante("domain", "list", "--json")),
        "mailboxes": json.loads(filling.mssante("mailbox", "list", "--json")),
        "messages": filling.digests(),
        "queue": filling.queue(),
        "keys": json.loads(filling.mssante("keys", "list", "--json")),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")


def _free_endpoints(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2])
