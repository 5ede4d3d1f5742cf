"""An operator with two customers and their desks, and mail between them."""

from dataclasses import dataclass

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from tests.support.clock import NOW
from tests.support.machines.daemon import Daemon
from tests.support.people.actors import Actors

OURS, THEIRS = "claire@a.mssante.fr", "x@c.mssante.fr"
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")


@dataclass(frozen=True)
class Desks(Actors):
    """Tenants `chu` (a.mssante.fr, a2.mssante.fr) and `clinique` (c.mssante.fr), by number."""

    chu: int = 0
    clinic: int = 0


def desks(daemon: Daemon, database: Database, role: str) -> Desks:
    """Accounts with a role for the whole, a tenant, a domain; of another tenant; and with none."""
    made = Actors(daemon, database)
    with database.write() as conn:
        for name in ("a.mssante.fr", "a2.mssante.fr", "c.mssante.fr"):
            add_domain(conn, name, now=NOW)
        for address in (OURS, THEIRS):
            add_mailbox(conn, address, MailboxType.PER, RPPS, now=NOW)
    chu = made.tenant("chu", "a.mssante.fr", "a2.mssante.fr")
    clinic = made.tenant("clinique", "c.mssante.fr")
    made.add("chef", role)
    made.add("desk", role, home=chu, tenant=chu)
    made.add("desk-a2", role, home=chu, domain="a2.mssante.fr")
    made.add("abroad", role, home=clinic, tenant=clinic)
    made.add("gerant", "manager")
    made.add("nobody", home=chu)
    return Desks(daemon, database, chu, clinic)
