"""Real Postfix as another operator, in its own folders; the system's Postfix is not touched.

It demands our client certificate and shows the certificate of an operator of the federation.  Mail
for its domain goes to one Maildir.  Mail from loopback for a domain in `routes` is relayed there
with its certificate; it verifies the server's name and logs each line.  Needs root.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mssante_operator.setup.install import write_identity
from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.credential import Credential
from tests.support.machines.endpoints import free_endpoint
from tests.support.machines.federation import federation
from tests.support.rules import needs

COMMAND = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# Services for reception, Maildir delivery and relaying, without chroot.
MASTER = """\
{endpoint} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
smtp unix - - n - - smtp -v
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
"""

_MACHINE = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log
multi_instance_enable = no
myhostname = smtp.{domain}
mydestination =
local_header_rewrite_clients =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = {domain}
smtpd_tls_ask_ccert = yes
smtpd_tls_cert_file = {folder}/pki/shown.pem
smtpd_tls_key_file = {folder}/pki/shown.key
smtpd_tls_CAfile = {folder}/pki/authorities.pem
"""

# Mail from loopback is relayed over TLS, with its certificate, to SERVERS.
RELAYING = """\
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = encrypt
smtpd_tls_req_ccert = yes
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = SERVERS
smtp_tls_cert_file = {folder}/pki/shown.pem
smtp_tls_key_file = {folder}/pki/shown.key
smtp_tls_CAfile = {folder}/pki/authorities.pem
"""

_MAIN = """\
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
transport_maps = inline:{{TRANSPORTS}}
"""


def missing() -> str:
    """Reason why Postfix cannot run here; empty if it can."""
    if COMMAND is None:
        return needs.program("postfix", "postfix", "tools/install-peers.sh .venv/bin")
    return needs.root("Postfix starts as nobody else")


@dataclass(frozen=True)
class Postfix:
    """Postfix that listens on loopback."""

    folder: Path
    endpoint: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def messages(self) -> list[bytes]:
        """Messages in its Maildir, with CRLF, and its own trace fields on top."""
        found = sorted((self.folder / "mail" / "box" / "new").glob("*"))
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in found]

    def log(self) -> str:
        """Its log."""
        path = self.folder / "log" / "mail.log"
        return path.read_text() if path.exists() else ""


@contextmanager
def started(
    domain: str, credential: Credential, authorities: Hierarchy, main: str, master: str
) -> Iterator[Path]:
    """Run a Postfix for `domain` in its own folder; yields the folder.

    `main.cf`: added to the common settings; `{folder}`, `{uid}` and `{gid}` stand for the folder
    and the owner of the mail.  `master.cf` is used unchanged.
    """
    # Not pytest's folder: Postfix's users have no access to its parent folders.
    folder = Path(tempfile.mkdtemp(prefix="mssante-postfix-"))
    try:
        nobody, owner = pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        for name in ("etc", "queue", "data", "log", "mail", "pki"):
            (folder / name).mkdir()
        folder.chmod(0o755)
        (folder / "pki").chmod(0o700)
        os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
        os.chown(folder / "data", owner.pw_uid, -1)
        write_identity(credential, authorities, folder / "pki", "shown")
        (folder / "pki" / "authorities.pem").write_bytes(
            authorities.root.certificate_pem + authorities.intermediate.certificate_pem
        )
        places = {"folder": folder, "uid": nobody.pw_uid, "gid": nobody.pw_gid, "domain": domain}
        (folder / "etc" / "main.cf").write_text((_MACHINE + main).format_map(places))
        (folder / "etc" / "master.cf").write_text(master)
        _run(folder, "start")
        try:
            yield folder
        finally:
            _run(folder, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the last process may still write its log


@contextmanager
def postfix(
    domain: str, shows: str, routes: Mapping[str, str] | None = None, **settings: int | str
) -> Iterator[Postfix]:
    """Run a Postfix for `domain` with the certificate of operator `shows`.

    `routes`: domain to server.  `settings`: of main.cf.
    """
    known, endpoint, to = federation(), free_endpoint(), routes or {}
    names = ", ".join(f"smtp.{one}" for one in to) or "hostname"
    entries = [
        f"{{{{{one} = smtp:[{host}]:{port}}}}}"
        for one, (host, _, port) in ((one, at.rpartition(":")) for one, at in to.items())
    ]
    transports = ", ".join(entries) or "{{void.invalid = error:}}"
    main = RELAYING.replace("SERVERS", names) + _MAIN.replace("TRANSPORTS", transports)
    main += "".join(f"{name} = {value}\n" for name, value in settings.items())
    master = MASTER.format(endpoint=endpoint)
    hierarchy = known.space.hierarchy
    with started(domain, known.operators[shows], hierarchy, main, master) as folder:
        yield Postfix(folder, endpoint)


def _run(folder: Path, verb: str) -> None:
    assert COMMAND is not None
    done = subprocess.run(
        [COMMAND, "-c", folder / "etc", verb],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    log = folder / "log" / "mail.log"
    assert done.returncode == 0, (
        f"postfix {verb}: {done.stderr}\n{log.exists() and log.read_text()}"
    )
