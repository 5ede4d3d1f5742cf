"""Co-holders of CAB mailboxes, and the structure of PER mailboxes (DOMAIN §1.3, §9.32, §9.37)."""

import pytest

from mailstore.db.database import Database
from mailstore.errors import InvalidAttribute, InvalidIdentifier
from mailstore.mailboxes.holders import add_holders, holders_of, remove_holders
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
CO_HOLDER = Identifier(IdentifierKind.RPPS, "10000005479")
FINESS = Identifier(IdentifierKind.FINESS, "750000002")
ADELI = Identifier(IdentifierKind.ADELI, "759300001")


@pytest.fixture
def hosted(database: Database) -> Database:
    with database.write() as conn:
        add_domain(conn, "cabinet.mssante.fr", now=NOW)
    return database


def test_a_cab_has_a_responsible_rpps_and_co_holders_domain_9_37(hosted: Database) -> None:
    """DOMAIN §9.37."""
    with hosted.write() as conn:
        cab = add_mailbox(conn, "c@cabinet.mssante.fr", MailboxType.CAB, RPPS, now=NOW)
        per = add_mailbox(conn, "p@cabinet.mssante.fr", MailboxType.PER, RPPS, now=NOW)
        assert holders_of(conn, [cab.id, per.id]) == {}
        add_holders(conn, cab, [CO_HOLDER, CO_HOLDER], now=NOW)
        add_holders(conn, cab, [CO_HOLDER], now=NOW)
        add_holders(conn, cab, [], now=NOW)
        assert holders_of(conn, [cab.id, per.id]) == {cab.id: (CO_HOLDER.value,)}
        for box, holder, says in (
            (per, CO_HOLDER, "a PER mailbox has no holders"),
            (cab, FINESS, "give an RPPS"),
            (cab, RPPS, "is the responsible person"),
        ):
            with pytest.raises(InvalidAttribute, match=says):
                add_holders(conn, box, [holder], now=NOW)
        with pytest.raises(InvalidAttribute, match="is no co-holder of c@"):
            remove_holders(conn, cab, [RPPS])
        remove_holders(conn, cab, [CO_HOLDER])
        assert holders_of(conn, [cab.id]) == {}


def test_a_per_hangs_on_an_rpps_or_on_rpps_and_structure_domain_9_32(hosted: Database) -> None:
    """DOMAIN §9.32."""
    with hosted.write() as conn:
        box = add_mailbox(
            conn, "p@cabinet.mssante.fr", MailboxType.PER, RPPS, structure=FINESS, now=NOW
        )
        assert (box.identifier, box.structure) == (RPPS, FINESS)
        rang = Identifier(IdentifierKind.RPPS_RANG, "10000001916012")
        box = add_mailbox(
            conn, "q@cabinet.mssante.fr", MailboxType.PER, RPPS, structure=rang, now=NOW
        )
        assert get_mailbox(conn, box.address).structure == rang
        for kind, identifier, structure, says in (
            (MailboxType.PER, RPPS, CO_HOLDER, "is no structure"),
            (MailboxType.PER, ADELI, FINESS, "only a PER mailbox on an RPPS"),
            (MailboxType.CAB, RPPS, FINESS, "only a PER mailbox on an RPPS"),
            (MailboxType.ORG, FINESS, FINESS, "only a PER mailbox on an RPPS"),
        ):
            with pytest.raises(InvalidIdentifier, match=says):
                add_mailbox(
                    conn, "x@cabinet.mssante.fr", kind, identifier, structure=structure, now=NOW
                )
