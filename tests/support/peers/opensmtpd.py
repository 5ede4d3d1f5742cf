"""Real OpenSMTPD as another operator: relays its mail with its certificate.

It verifies the server's name, and logs a line for each delivery.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.machines import machine
from tests.support.machines.endpoints import free_endpoint

_PACKAGE, _PROGRAM = "opensmtpd", "usr/sbin/smtpd"
_USERS = {"opensmtpd": 64901, "opensmtpq": 64902}  # only inside its namespace

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
    """Reason why OpenSMTPD cannot run here; empty if it can."""
    return machine.missing(_PACKAGE, _PROGRAM)


@dataclass(frozen=True)
class OpenSmtpd:
    """OpenSMTPD that listens on loopback."""

    port: int
    machine: machine.Machine

    def log(self) -> str:
        """Its log of deliveries, with our replies."""
        return self.machine.log()


@contextmanager
def opensmtpd(shows: str, peer: int) -> Iterator[OpenSmtpd]:
    """Run OpenSMTPD with the certificate of operator `shows`; it relays to a port on loopback."""
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
