"""`mssante init`: complete working operator in a folder, with its own test trust space.

Only the authority is not real: certificates have names like those of IGC-Santé, the white list is
signed like the national list, the database is migrated, and there is a mailbox of each type.  To
join the real trust space, replace `pki/` and `whitelist/` by the files of IGC-Santé and ANS; the
rest stays.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.serialization import Encoding

from mailstore.audit.keys import make_key_file
from mailstore.db.database import Database
from mailstore.errors import InvalidAddress
from mailstore.mailboxes.address import parse_domain
from mailstore.mailboxes.attributes import Attribute, Values
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.sealed.keyring import make_first
from whitelist.pki.distinguished_name import DistinguishedName

from ..assembly.clock import utc_now
from ..assembly.database import migrations
from ..assembly.storage import open_store
from ..assembly.trust import open_crl_refresher, open_list_refresher, open_trust
from ..settings.endpoints import split_endpoint
from ..settings.model import SettingsError, load
from .testbed.ca import Hierarchy, issue_crl
from .testbed.certificate_profile import Lifetime, Subject
from .testbed.credential import Credential
from .testbed.signed_list import ListedDomain, build_signed_list

PEER_DOMAIN: Final = "pair.mssante.fr"

# One mailbox of each type (DOMAIN §1.3).  The numbers are well-formed and belong to no person.
_FINESS: Final = Identifier(IdentifierKind.FINESS, "750000002")
SAMPLES: Final[tuple[tuple[str, MailboxType, Identifier, Values], ...]] = (
    ("claire.martin", MailboxType.PER, Identifier(IdentifierKind.RPPS, "10000001916"), {}),
    (
        "cardiologie",
        MailboxType.ORG,
        _FINESS,
        {Attribute.DESCRIPTION: "Cardiologie", Attribute.RESPONSIBLE: "Claire Martin"},
    ),
    ("noreply-biologie", MailboxType.APP, _FINESS, {Attribute.DESCRIPTION: "Labo"}),
    (
        "cabinet.durand",
        MailboxType.CAB,
        Identifier(IdentifierKind.RPPS, "10000005479"),
        {Attribute.DESCRIPTION: "Cabinet"},
    ),
)


@dataclass(frozen=True, slots=True)
class TrustSpace:
    """Test authority with its list signer.  `now`: time from which lifetimes count."""

    hierarchy: Hierarchy
    signer: Credential
    now: datetime

    @classmethod
    def create(cls, now: datetime) -> Self:
        """Create a new trust space with new keys."""
        hierarchy = Hierarchy.create(now)
        return cls(hierarchy, hierarchy.issue_list_signer(Lifetime.of_leaf(now)), now)

    def enrol(self, common_name: str, organization: str) -> Credential:
        """Issue an operator's certificate."""
        subject = Subject(common_name, "1750000002", organization, "Paris (75)")
        lifetime = Lifetime.of_leaf(self.now)
        return self.hierarchy.issue_server(subject, [common_name], lifetime)

    def crl(self, issuer: Credential, revoked: Iterable[Credential] = ()) -> bytes:
        """PEM revocation list of `issuer`, valid as long as a leaf certificate."""
        serials = [one.certificate.serial_number for one in revoked]
        lifetime = Lifetime.of_leaf(self.now)
        return issue_crl(issuer, lifetime, len(serials) + 1, serials).public_bytes(Encoding.PEM)

    def sign_list(self, domains: Mapping[str, Credential]) -> bytes:
        """Signed list.  `domains`: domain to the certificate of its operator."""
        entries = [
            ListedDomain(
                domain,
                str(DistinguishedName.from_certificate(operator.certificate)),
                f"Domaine de test {domain}",
                self.now,
            )
            for domain, operator in sorted(domains.items())
        ]
        return build_signed_list(entries, self.now, self.signer)


@dataclass(frozen=True, slots=True)
class Installation:
    """Parameters of an operator.  `listen`, `admin` and routes as HOST:PORT; `routes` by domain."""

    folder: Path
    hostname: str
    domains: Sequence[str]
    listen: str
    admin: str
    workers: int = 0
    routes: Mapping[str, str] | None = None


def install(plan: Installation, space: TrustSpace, own: Credential, white_list: bytes) -> Path:
    """Create an operator in its folder; returns the path of its configuration.

    Raises SettingsError, MailstoreError, ListRefused, ArchiveError, OSError.
    """
    pki = plan.folder / "pki"
    for folder in (plan.folder, pki, plan.folder / "whitelist", plan.folder / "data"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_identity(own, space.hierarchy, pki, "server")
    (pki / "root.pem").write_bytes(space.hierarchy.root.certificate_pem)
    (pki / "intermediate.pem").write_bytes(space.hierarchy.intermediate.certificate_pem)
    (pki / "root.crl").write_bytes(space.crl(space.hierarchy.root))
    (pki / "intermediate.crl").write_bytes(space.crl(space.hierarchy.intermediate))
    (plan.folder / "whitelist" / "listeblanchemssante.xml").write_bytes(white_list)
    file = plan.folder.absolute() / "data" / "mssante.db"
    migrations.upgrade(file)
    make_first(plan.folder / "data" / "keys", space.now)
    make_key_file(plan.folder / "data" / "audit-keys", space.now)
    database = Database(file)
    with database.write() as connection:
        for domain in plan.domains:
            add_domain(connection, domain, now=space.now)
            for local, kind, identifier, attributes in SAMPLES:
                add_mailbox(
                    connection,
                    f"{local}@{domain}",
                    kind,
                    identifier,
                    attributes=attributes,
                    now=space.now,
                )
    database.close()
    path = plan.folder / "mssante.toml"
    path.write_text(_configuration(plan), encoding="utf-8")
    open_store(load(path), mark=True).close()
    _adopt_list(path)
    return path


def _adopt_list(path: Path) -> None:
    """Adopt the list like any other list.  Raises ListRefused."""
    settings = load(path)
    trust = open_trust(settings)
    crls = open_crl_refresher(settings, trust)
    crls.check(utc_now())
    open_list_refresher(settings, trust.with_crls(crls.store.current())).check()


def write_identity(own: Credential, hierarchy: Hierarchy, folder: Path, name: str) -> None:
    """Write NAME.pem (certificate, then its intermediate) and NAME.key."""
    own.save(folder / f"{name}.pem", folder / f"{name}.key")
    with (folder / f"{name}.pem").open("ab") as chain:
        chain.write(hierarchy.intermediate.certificate_pem)


def _configuration(plan: Installation) -> str:
    routes = "".join(
        f"{json.dumps(domain)} = {json.dumps(to)}\n" for domain, to in (plan.routes or {}).items()
    )
    return f"""\
# Made by mssante init.  Every key, with its meaning: mssante config reference

[operator]
hostname = {json.dumps(plan.hostname)}
postmaster = {json.dumps(f"cardiologie@{plan.domains[0]}")}

[storage]
directory = "data"

[tls]
certificate = "pki/server.pem"
key = "pki/server.key"

[trust]
anchors = ["pki/root.pem"]
intermediates = ["pki/intermediate.pem"]
crl_files = ["pki/root.crl", "pki/intermediate.crl"]

[whitelist]
file = "whitelist/listeblanchemssante.xml"

[inbound]
listen = [{json.dumps(plan.listen)}]

[admin]
listen = {json.dumps(plan.admin)}

[process]
workers = {plan.workers}

[log]
format = "console"

[outbound.routes]
{routes}"""


def init(
    folder: Path, domains: Sequence[str], listen: str, admin: str, *, now: datetime, program: str
) -> str:
    """Create an operator and a sample peer in `folder`.  Raises SettingsError.

    Returns the text of the next steps, with commands that start with `program`.
    """
    folder = folder.absolute()  # the printed commands work in any working directory
    configuration = folder / "mssante.toml"
    if os.path.lexists(configuration):
        raise SettingsError(f"{configuration}: already exists; choose another folder")
    _check_place(folder)
    for domain in domains:
        try:
            parse_domain(domain)
        except InvalidAddress as error:
            raise SettingsError(f"--domain: {error}") from None
    for endpoint in (listen, admin):
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            raise SettingsError(f"{endpoint}: {error}") from None
    space = TrustSpace.create(now)
    hostname = f"smtp.{domains[0]}"
    own = space.enrol(hostname, "OPERATEUR DE TEST")
    peer = space.enrol(f"smtp.{PEER_DOMAIN}", "OPERATEUR PAIR")
    listed = {**dict.fromkeys(domains, own), PEER_DOMAIN: peer}
    plan = Installation(folder, hostname, domains, listen, admin)
    install(plan, space, own, space.sign_list(listed))
    space.hierarchy.save(folder / "authority")
    space.signer.save(folder / "authority" / "signer.pem", folder / "authority" / "signer.key")
    write_identity(peer, space.hierarchy, folder / "pki", "peer")
    (folder / "sample.eml").write_text(_SAMPLE.format(domain=domains[0]), encoding="utf-8")
    (folder / "NEXT.txt").write_text(
        text := _next_steps(
            plan, f"{shlex.quote(program)} --config {shlex.quote(str(configuration))}"
        ),
        encoding="utf-8",
    )
    return text


def _check_place(folder: Path) -> None:
    """Refuse a folder that cannot be created or written.  Raises SettingsError."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise SettingsError(
            f"{str(folder.absolute())!a}: path name not in UTF-8; choose another folder"
        ) from None
    made = [one for one in (folder, *folder.absolute().parents) if not one.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
        for one in made:  # removed again: a later refusal must leave nothing behind
            one.rmdir()
    except OSError as error:
        raise SettingsError(
            f"{folder}: cannot be created: {error.strerror}; choose another folder"
        ) from error
    if not writable:
        raise SettingsError(f"{folder}: no write access; choose another folder")


_SAMPLE: Final = """\
From: Dr Martin <claire.martin@{domain}>
To: Cardiologie <cardiologie@{domain}>
Subject: Essai
Message-ID: <essai@{domain}>
Date: Sun, 22 Nov 2026 10:00:00 +0100
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Bonjour.
"""


def _next_steps(plan: Installation, mssante: str) -> str:
    domain, pki = plan.domains[0], shlex.quote(str(plan.folder / "pki"))
    sample = shlex.quote(str(plan.folder / "sample.eml"))
    return f"""\
An operator for {", ".join(plan.domains)} is ready in {plan.folder}.
  run it:            {mssante} serve
  send as a peer:    {shlex.quote(sys.executable)} -m mssante_operator.setup.testbed.peer {pki} \\
                       --server {plan.listen} --from dr.pair@{PEER_DOMAIN} \\
                       --to claire.martin@{domain}
  or with swaks:     swaks --server {plan.listen} --tls \\
                       --tls-cert {pki}/peer.pem --tls-key {pki}/peer.key \\
                       --helo smtp.{PEER_DOMAIN} --from dr.pair@{PEER_DOMAIN} \\
                       --to claire.martin@{domain}
  send from here:    {mssante} message send {sample} \\
                       --from claire.martin@{domain} --to cardiologie@{domain}
  read a mailbox:    {mssante} message list cardiologie@{domain}
  health, metrics:   http://{plan.admin}/readyz  http://{plan.admin}/metrics
"""
