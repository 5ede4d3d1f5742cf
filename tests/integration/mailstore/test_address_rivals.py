"""One address is given once, whoever asks for it at the same time."""

import sys
from subprocess import Popen

from sqlalchemy import select

from mailstore.db.database import Database
from mailstore.db.schema import aliases
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, resolve
from tests.support.clock import NOW

RIVAL = """
import sys
from datetime import UTC, datetime
from mailstore.db.database import Database
from mailstore.errors import Conflict
from mailstore.mailbox_import.bulk import carry_out, load_known
from mailstore.mailbox_import.csv_form import CsvLine
from mailstore.mailbox_import.import_plan import Action, plan
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_mailbox

database, way, now = Database(sys.argv[1]), sys.argv[2], datetime.now(UTC)
rpps = Identifier(IdentifierKind.RPPS, "10000001916")
for number in range(20):
    address = f"x{number}@chu.mssante.fr"
    try:
        with database.write() as conn:
            if way == "alias":
                add_alias(conn, "a@chu.mssante.fr", address, ends_at=None, now=now)
            elif way == "mailbox":
                add_mailbox(conn, address.upper(), MailboxType.PER, rpps, now=now)
            else:
                lines = [CsvLine(2, {"address": address, "type": "PER", "rpps": rpps.value})]
                found = plan(lines, load_known(conn, lines, frozenset(), lock=True))
                if found[0].action is Action.ADD:
                    carry_out(conn, found, now)
    except Conflict:
        pass
"""


def test_processes_that_give_the_same_addresses_give_each_once_domain_9_34(
    database: Database, database_url: str
) -> None:
    """DOMAIN §9.34: mailboxes, aliases and imports, by several processes at once."""
    rpps = Identifier(IdentifierKind.RPPS, "10000001916")
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        add_mailbox(conn, "a@chu.mssante.fr", MailboxType.PER, rpps, now=NOW)
    ways = ("alias", "mailbox", "import")
    rivals = [Popen([sys.executable, "-c", RIVAL, database_url, way]) for way in ways]
    assert [one.wait(60) for one in rivals] == [0, 0, 0]
    names = [f"x{number}@chu.mssante.fr" for number in range(20)]
    with database.read() as conn:
        boxes = {address.lower() for address in resolve(conn, names)}
        known = conn.scalars(select(aliases.c.address).where(aliases.c.address.in_(names)))
        others = set(known)
    assert boxes | others == set(names)
    assert boxes & others == set()
