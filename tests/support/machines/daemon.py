"""Real daemon, started by `mssante serve`, and commands beside it."""

import io
import json
import os
import re
import signal
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mailstore.blobs.store import Store
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import MailboxEntry, list_entries
from mssante_operator.assembly.storage import open_store
from mssante_operator.cli.main import main
from mssante_operator.errors import Outage
from mssante_operator.settings.model import load
from mssante_operator.setup.install import Installation, install, write_identity
from tests.support.machines.endpoints import free_endpoint
from tests.support.machines.federation import Federation, federation
from tests.support.waiting import PATIENCE

# `federation` and `free_endpoint` are exported here too, for tests with a daemon.
__all__ = [
    "MSSANTE",
    "Daemon",
    "Federation",
    "client",
    "command",
    "dial",
    "federation",
    "free_endpoint",
    "get",
    "lay_out",
    "served",
]

MSSANTE = (sys.executable, "-m", "mssante_operator.cli.main")


# Options that some commands on mailboxes need.
RESPONSIBLE = ("--responsible", "Claire Martin")
REASON = ("--reason", "départ")


def command(*words: str) -> tuple[int, str, str]:
    """Run `mssante` in this process; returns exit code, standard output, standard error.

    The same `main` as the installed command, but without the second for a new interpreter.
    """
    out, err = io.BytesIO(), io.BytesIO()
    code = 0
    with (
        redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        redirect_stderr(io.TextIOWrapper(err, encoding="utf-8", write_through=True)),
    ):
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            structlog.reset_defaults()  # the command's logging must not affect other tests
        return code, out.getvalue().decode(), err.getvalue().decode()


def _words(pid: int) -> list[str]:
    """Command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


@dataclass
class Daemon:
    """Operator installed in a folder; its daemon runs between `start` and `stop`."""

    config: Path
    endpoint: str
    admin: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    @property
    def folder(self) -> Path:
        return self.config.parent

    def outbound(self, **keys: float) -> None:
        """Set keys of [outbound] in the configuration; call it once."""
        lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
        text = self.config.read_text()
        self.config.write_text(
            text.replace("[outbound.routes]", f"[outbound]\n{lines}\n[outbound.routes]")
        )

    def start(self) -> None:
        """Start the daemon; wait until it listens.  AssertionError with its log if it does not."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*MSSANTE, "--config", str(self.config), "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(b"mssante listens on "):
            self.kill()
            raise AssertionError(self.log())

    def stop(self) -> int:
        """Send SIGTERM like a service manager; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def kill(self) -> None:
        """Send SIGKILL to the supervisor and all its processes at once, like a power cut."""
        assert self.process is not None
        with suppress(
            ProcessLookupError
        ):  # the supervisor has exited by itself, with all its processes
            os.killpg(self.process.pid, signal.SIGKILL)
        self._end()

    def _end(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout:
            code = self.process.wait(30)
        self.process = None
        return code

    def log(self) -> str:
        """Log of the daemon."""
        return (self.folder / "serve.log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Logged events with this name, parsed from JSON."""
        # Not line by line: several processes write, so a newline may come after the next object.
        shape = rf'{{[^{{}}]*"event": "{re.escape(name)}"[^{{}}]*}}'
        return [json.loads(found) for found in re.findall(shape, self.log())]

    def processes(self, role: str = "") -> set[int]:
        """Pids of a role's processes; without a role, of all except supervisor and launchers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {
            pid
            for pid in map(int, children.read_text().split())
            if (role in _words(pid) if role else "launcher" not in _words(pid))
        }

    def hang_up(self) -> None:
        """Send SIGHUP like a service manager's reload."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command of this operator; returns its output.  The exit code must be `code`."""
        found, out, err = command("--config", str(self.config), *words)
        assert found == code, f"{words}: {found}\n{out}{err}"
        return out + err

    def identity(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of an operator of the federation, as files."""
        pki = self.folder / "pki"
        write_identity(federation().operators[name], federation().space.hierarchy, pki, name)
        return pki / f"{name}.pem", pki / f"{name}.key"

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Mailstore of the operator, opened in this process beside the daemon.

        The tests' S3 server may be too slow under load: the opening is tried again.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                opened = open_store(load(self.config))
                break
            except Outage:
                if time.monotonic() > deadline:
                    raise
        try:
            yield opened
        finally:
            opened.database.close()
            opened.blobs.close()

    def entries(self, address: str) -> list[MailboxEntry]:
        """Entries of a mailbox."""
        with self.store() as store, store.database.read() as connection:
            return list_entries(connection, get_mailbox(connection, address).id, limit=1_000_000)

    def body(self, entry: MailboxEntry) -> bytes:
        """Octets of a message as received."""
        with self.store() as store, store.blobs.open(entry.message.blob) as stored:
            return stored.read()


def lay_out(
    folder: Path,
    name: str,
    routes: Mapping[str, str] | None = None,
    *,
    workers: int = 1,
    white_list: bytes | None = None,
) -> Daemon:
    """Install operator `name` (a, b or c) in a folder, with its domain's four mailboxes.

    The federation's white list is in force unless another list is given.
    """
    endpoint, admin = free_endpoint(), free_endpoint()
    plan = Installation(
        folder,
        f"smtp.{name}.mssante.fr",
        [f"{name}.mssante.fr"],
        endpoint,
        admin,
        workers=workers,
        routes=routes,
    )
    space = federation()
    listed = space.white_list if white_list is None else white_list
    config = install(plan, space.space, space.operators[name], listed)
    return Daemon(config, endpoint, admin)


def dial(port: int, certificate: Path, key: Path) -> smtplib.SMTP:
    """Connect to a server of the federation on loopback; STARTTLS with a certificate."""
    root = federation().space.hierarchy.root.certificate_pem
    context = ssl.create_default_context(cadata=root.decode("ascii"))
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    smtp = smtplib.SMTP("127.0.0.1", port, timeout=20)
    try:
        smtp.starttls(context=context)
    except BaseException:
        smtp.close()
        raise
    return smtp


def client(daemon: Daemon, name: str) -> smtplib.SMTP:
    """Connect as an operator of the federation, over TLS."""
    return dial(daemon.port, *daemon.identity(name))


def get(daemon: Daemon, path: str) -> tuple[int, str]:
    """GET from the admin HTTP; returns status and body."""
    try:
        with urllib.request.urlopen(f"http://{daemon.admin}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def served(daemon: Daemon) -> Iterator[Daemon]:
    """Run the daemon during the test; stop it at the end if it still runs."""
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()


def sample(daemon: Daemon, name: str) -> float:
    """The value of a metric, its labels included in the name."""
    _, text = get(daemon, "/metrics")
    line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])
