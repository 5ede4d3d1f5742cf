"""A real OpenSMTPD as another operator: what it is given it relays with its certificate.

It verifies the name of the server, and writes a line for each delivery.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support import machine
from tests.support.endpoints import free_endpoint

_PACKAGE, _PROGRAM = "opensmtpd", "usr/sbin/smtpd"
_USERS = {"opensmtpd": 64901, "opensmtpq": 64902}  # in its machine only

_CONFIGURATION = """\
pki smtp.b.mssante.fr cert "/etc/pki/shown.pem"
pki smtp.b.mssante.fr key "/etc/pki/shown.key"
listen on 127.0.0.1 port {port} hostname smtp.b.mssante.fr
queue ttl 1h
action "federation" relay host "smtp+tls://smtp.a.mssante.fr:{peer}" \\
    pki smtp.b.mssante.fr helo smtp.b.mssante.fr
match from any for any action "federation"
"""


def missing() -> str:
    """Why no OpenSMTPD can run here, empty if one can."""
    return machine.missing(_PACKAGE, _PROGRAM)


@dataclass(frozen=True)
class OpenSmtpd:
    """An OpenSMTPD that listens on loopback."""

    port: int
    machine: machine.Machine

    def log(self) -> str:
        """What it has logged of deliveries, and in them of our replies."""
        return self.machine.log()


@contextmanager
def opensmtpd(shows: str, peer: int) -> Iterator[OpenSmtpd]:
    """Run one with the certificate of operator `shows`, that relays to a port of loopback."""
    port = int(free_endpoint().rpartition(":")[2])
    with machine.machine(_PACKAGE, _USERS) as made:
        made.credentials(shows)
        made.write("/etc/smtpd.conf", _CONFIGURATION.format(port=port, peer=peer))
        authorities = (made.root / "etc/pki/authorities.pem").read_bytes()
        made.write("/etc/resolv.conf", "lookup file\n")
        made.write("/etc/ssl/certs/ca-certificates.crt", authorities)
        made.mkdir("/var/spool/smtpd", mode=0o711)
        made.mkdir("/var/lib/opensmtpd/empty")
        (made.root / "var/run").symlink_to("/run")
        with made.running(f"/opt/{_PROGRAM}", "-d", port=port):
            yield OpenSmtpd(port, made)
