"""Real Exim as another operator, as sender or as receiver.

The sender relays mail from loopback with its certificate, and verifies the server's name.  Its log
shows for each delivery pipelined commands (`L`) and BDAT (`K`).  The receiver demands a certificate
of a trusted authority (`tls_verify_hosts`), and puts all mail for its domain into one Maildir.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.credential import Credential
from tests.support.machines import machine
from tests.support.machines.endpoints import free_endpoint

_PACKAGE, _PROGRAM = "exim4-daemon-light", "usr/sbin/exim4"
_USER = 64900  # Debian-exim, only inside its namespace

_CONFIGURATION = """\
primary_hostname = smtp.b.mssante.fr
exim_path = /opt/usr/sbin/exim4
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
log_selector = +pipelining +smtp_confirmation +tls_cipher +tls_peerdn +tls_certificate_verified
notifier_socket =
keep_environment = LD_LIBRARY_PATH
accept_8bitmime
smtputf8_advertise_hosts =
chunking_advertise_hosts =
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
acl_smtp_rcpt = accept_all

begin acl
accept_all:
  accept

begin routers
peer:
  driver = manualroute
  domains = ! b.mssante.fr
  transport = federation
  route_list = * 127.0.0.1 byname
  self = send
returned:
  driver = redirect
  data = :blackhole:

begin transports
federation:
  driver = smtp
  allow_localhost
  port = {peer}
  hosts_require_tls = *
  hosts_try_chunking = {chunking}
  tls_certificate = /etc/pki/shown.pem
  tls_privatekey = /etc/pki/shown.key
  tls_verify_certificates = /etc/pki/authorities.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
  tls_sni = smtp.a.mssante.fr

begin retry
* * F,1h,1m
"""

_RECEIVING = """\
primary_hostname = smtp.a.mssante.fr
exim_path = /opt/usr/sbin/exim4
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
log_selector = +pipelining +8bitmime +smtp_connection +tls_cipher +tls_certificate_verified
notifier_socket =
keep_environment = LD_LIBRARY_PATH
message_size_limit = {size}
recipients_max = {recipients}
smtp_accept_max_per_connection = {messages}
smtputf8_advertise_hosts = *
chunking_advertise_hosts = {chunking}
dsn_advertise_hosts = *
host_lookup =
rfc1413_hosts =
tls_advertise_hosts = *
tls_certificate = /etc/pki/shown.pem
tls_privatekey = /etc/pki/shown.key
tls_verify_certificates = /etc/pki/authorities.pem
tls_verify_hosts = *
acl_smtp_mail = under_tls
acl_smtp_rcpt = ours

begin acl
under_tls:
  deny ! encrypted = *
  deny ! verify = certificate
  accept
ours:
  deny ! domains = a.mssante.fr
  deny local_parts = nobody
       message = no such mailbox
  accept

begin routers
box:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = /var/mail/box
  user = Debian-exim

begin retry
* * F,1h,1m
"""


def missing() -> str:
    """Reason why Exim cannot run here; empty if it can."""
    return machine.missing(_PACKAGE, _PROGRAM)


@dataclass(frozen=True)
class Exim:
    """Exim that listens on loopback."""

    port: int
    machine: machine.Machine

    def log(self) -> str:
        """Its log of deliveries, with our replies."""
        path = self.machine.root / "var/log/exim4/mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

    def messages(self) -> list[bytes]:
        """Messages in its Maildir, with CRLF, and its own trace fields on top."""
        found = sorted((self.machine.root / "var/mail/box/new").glob("*"))
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in found]


@contextmanager
def exim(shows: str, peer: int, *, chunking: bool = True) -> Iterator[Exim]:
    """Run an Exim with the certificate of operator `shows`; it relays to a port on loopback."""
    values = {"peer": peer, "chunking": "*" if chunking else ""}
    with machine.machine(_PACKAGE, {"Debian-exim": _USER}) as made:
        made.credentials(shows, _USER)
        with _running(made, _CONFIGURATION, values) as started:
            yield started


@contextmanager
def receiving_exim(
    shown: Credential,
    issuer: Hierarchy,
    trusted: Hierarchy,
    *,
    size: int = 50_000_000,
    recipients: int = 1000,
    messages: int = 1000,
    chunking: bool = True,
) -> Iterator[Exim]:
    """Run an Exim for a.mssante.fr that accepts only clients with a certificate of `trusted`.

    Limits: `size` octets of a message, recipients of a message, messages of a connection.
    """
    values = {
        "size": size,
        "recipients": recipients,
        "messages": messages,
        "chunking": "*" if chunking else "",
    }
    with machine.machine(_PACKAGE, {"Debian-exim": _USER}) as made:
        made.identity(shown, issuer, trusted, _USER)
        made.mkdir("/var/mail", _USER)
        with _running(made, _RECEIVING, values) as started:
            yield started


@contextmanager
def _running(
    made: machine.Machine, configuration: str, values: Mapping[str, object]
) -> Iterator[Exim]:
    port = int(free_endpoint().rpartition(":")[2])
    made.write("/etc/exim4/exim4.conf", configuration.format_map({"port": port, **values}))
    for folder in ("/var/spool/exim4", "/var/log/exim4", "/run/exim4"):
        made.mkdir(folder, _USER)
    with made.running(f"/opt/{_PROGRAM}", "-bdf", port=port):
        yield Exim(port, made)
