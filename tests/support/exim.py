"""A real Exim as another operator: what it is given on loopback it relays with its certificate.

It verifies the name of the server.  Its log says of each delivery whether commands were pipelined
(`L`) and whether the message went by BDAT (`K`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support import machine
from tests.support.daemon import free_endpoint

_PACKAGE, _PROGRAM = "exim4-daemon-light", "usr/sbin/exim4"
_USER = 64900  # Debian-exim, in its machine only

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


def missing() -> str:
    """Why no Exim can run here, empty if one can."""
    return machine.missing(_PACKAGE, _PROGRAM)


@dataclass(frozen=True)
class Exim:
    """An Exim that listens on loopback."""

    port: int
    machine: machine.Machine

    def log(self) -> str:
        """What it has logged of deliveries, and in them of our replies."""
        path = self.machine.root / "var/log/exim4/mainlog"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def exim(shows: str, peer: int, *, chunking: bool = True) -> Iterator[Exim]:
    """Run an Exim with the certificate of operator `shows`, that relays to a port of loopback."""
    port = int(free_endpoint().rpartition(":")[2])
    with machine.machine(_PACKAGE, {"Debian-exim": _USER}) as made:
        made.credentials(shows, _USER)
        values = {"port": port, "peer": peer, "chunking": "*" if chunking else ""}
        made.write("/etc/exim4/exim4.conf", _CONFIGURATION.format_map(values))
        for folder in ("/var/spool/exim4", "/var/log/exim4", "/run/exim4"):
            made.mkdir(folder, _USER)
        with made.running(f"/opt/{_PROGRAM}", "-bdf", port=port):
            yield Exim(port, made)
