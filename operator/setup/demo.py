"""`mssante demo`: two operators on loopback exchange mail and refuse intruders.

Two real daemons (`mssante serve`) run in a temporary folder under one signed white list.  The
intruders are SMTP clients with other certificates.  Each step is checked.
"""

import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Final

import click

from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import MailboxEntry, list_entries
from relay.smtp.address import parse_address

from ..assembly.clock import utc_now
from ..assembly.storage import open_store
from ..assembly.trust import open_trust, open_trust_state
from ..errors import OperatorError
from ..services.local_submission import open_submitter
from ..settings.model import Settings, load
from .install import Installation, TrustSpace, install, write_identity
from .testbed.credential import Credential

STEP_SECONDS: Final = 30.0  # timeout of a step in seconds; it normally takes less than one second


class DemoFailed(OperatorError):
    """A step of the demo failed; the message says which."""


@dataclass(frozen=True, slots=True)
class _DemoOperator:
    """One of the two operators."""

    name: str
    domain: str
    settings: Settings
    endpoint: str


def run() -> None:
    """Run the whole demo.  Raises DemoFailed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mssante-demo-")))
        space = TrustSpace.create(utc_now())
        a, b = _enrol_both(space, folder)
        _show_list(a)
        for side in (a, b):
            stack.enter_context(_served(side))
            click.echo(f"operator {side.name} serves {side.domain} on {side.endpoint}")
        _exchange(a, b)
        _exchange(b, a)
        _turn_away(folder, a, b)
    click.echo("demo: every step ended as it must")


def _enrol_both(space: TrustSpace, folder: Path) -> tuple[_DemoOperator, _DemoOperator]:
    own = {
        name: space.enrol(f"smtp.{name}.mssante.fr", f"OPERATEUR {name.upper()}") for name in "abc"
    }
    listed = {f"{name}.mssante.fr": credential for name, credential in own.items()}
    white_list = space.sign_list(listed)
    write_identity(own["c"], space.hierarchy, folder, "c")
    write_identity(
        space.enrol("smtp.intrus.example", "INTRUS"), space.hierarchy, folder, "intruder"
    )
    a, b = _free_endpoint(), _free_endpoint()
    return (
        _install("A", a, {"b.mssante.fr": b}, folder, space, own["a"], white_list),
        _install("B", b, {"a.mssante.fr": a}, folder, space, own["b"], white_list),
    )


def _install(
    name: str,
    endpoint: str,
    routes: dict[str, str],
    folder: Path,
    space: TrustSpace,
    own: Credential,
    white_list: bytes,
) -> _DemoOperator:
    domain = f"{name.lower()}.mssante.fr"
    plan = Installation(
        folder / name, f"smtp.{domain}", [domain], endpoint, "127.0.0.1:0", workers=1, routes=routes
    )
    return _DemoOperator(name, domain, load(install(plan, space, own, white_list)), endpoint)


def _free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def _show_list(side: _DemoOperator) -> None:
    trust_state = open_trust_state(side.settings, open_trust(side.settings))
    white_list = trust_state.snapshot.white_list
    if white_list is None:
        raise DemoFailed(f"white list refused: {trust_state.snapshot.problem}")
    click.echo(
        f"list verified: {white_list.entries} entries, {white_list.domains} domains, "
        f"signed by {white_list.signer.subject.common_name}"
    )


@contextmanager
def _served(side: _DemoOperator) -> Iterator[None]:
    log = side.settings.origin.parent / "serve.log"
    with log.open("wb") as errors:
        daemon = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [
                sys.executable,
                "-m",
                "mssante_operator.cli.main",
                "--config",
                side.settings.origin,
                "serve",
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert daemon.stdout is not None  # noqa: S101 - PIPE is set above
            if not daemon.stdout.readline():
                raise DemoFailed(f"operator {side.name} did not start:\n{log.read_text()}")
            yield
        finally:
            daemon.terminate()
            daemon.wait()
            if daemon.stdout is not None:
                daemon.stdout.close()


def _exchange(source: _DemoOperator, to: _DemoOperator) -> None:
    sender, recipient = f"claire.martin@{source.domain}", f"cardiologie@{to.domain}"
    text = EmailMessage()
    text["From"], text["To"], text["Subject"] = sender, recipient, "Compte rendu"
    text.set_content(f"De l'opérateur {source.name} à l'opérateur {to.name}.")
    with open_submitter(source.settings) as submitter:
        accepted = submitter.submit(
            BytesIO(text.as_bytes()), parse_address(sender), [parse_address(recipient)]
        )
    entry = _await_entry(to, recipient)
    click.echo(f"{source.name} → {to.name} delivered: {accepted.id} in {recipient}:")
    click.echo(f"    from {entry.message.sender}, {entry.message.size} octets")
    click.echo(f"    over TLS from {entry.message.peer}")


def _await_entry(side: _DemoOperator, recipient: str) -> MailboxEntry:
    deadline = time.monotonic() + STEP_SECONDS
    with closing(open_store(side.settings)) as store:
        while time.monotonic() < deadline:
            with store.database.read() as connection:
                found = list_entries(connection, get_mailbox(connection, recipient).id)
            if found:
                return found[-1]
            time.sleep(0.05)
    log = (side.settings.origin.parent / "serve.log").read_text()
    raise DemoFailed(f"nothing arrived in {recipient} within {STEP_SECONDS:.0f} s:\n{log}")


def _turn_away(folder: Path, a: _DemoOperator, b: _DemoOperator) -> None:
    mailbox = f"cardiologie@{b.domain}"
    _expect(
        "an intruder whose certificate is off the list",
        _attempt(folder, "intruder", b, f"claire.martin@{a.domain}", mailbox),
        "554 5.7.1",
    )
    _expect(
        "listed operator C with a sender of operator A",
        _attempt(folder, "c", b, f"claire.martin@{a.domain}", mailbox),
        "550 5.7.1",
    )


def _attempt(folder: Path, name: str, to: _DemoOperator, sender: str, recipient: str) -> str:
    context = ssl.create_default_context(cafile=to.settings.path(to.settings.trust.anchors[0]))
    context.check_hostname = False
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    host, _, port = to.endpoint.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=STEP_SECONDS) as client:
        client.starttls(context=context)
        client.ehlo()
        for code, text in (client.mail(sender), client.rcpt(recipient)):
            if code != 250:
                return f"{code} {text.decode()}"
    return "250 accepted"


def _expect(who: str, reply: str, beginning: str) -> None:
    if not reply.startswith(beginning):
        raise DemoFailed(f"{who}: expected a refusal with {beginning}, got: {reply}")
    click.echo(f"refused {who}: {reply}")
