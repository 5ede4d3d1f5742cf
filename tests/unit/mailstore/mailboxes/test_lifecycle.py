"""States of mailboxes: suspended, closed, deleted, restored (DOMAIN §9.39)."""

from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import Connection

from mailstore.db.database import Database
from mailstore.errors import Conflict, InvalidState
from mailstore.mailboxes.changes import change_number
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import LEAST_GRACE, delete_mailbox, restore_mailbox, set_state
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from tests.support.clock import NOW
from tests.support.storage.news import told_mailboxes

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
BOX = "a@chu.mssante.fr"
LATER = NOW + timedelta(days=1)
GRACE = timedelta(days=30)


@pytest.fixture
def hosted(database: Database) -> Database:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        add_mailbox(conn, BOX, MailboxType.PER, RPPS, now=NOW)
    return database


def test_a_state_has_date_reason_and_answer_domain_9_39(hosted: Database) -> None:
    """DOMAIN §9.39."""
    with hosted.write() as conn:
        number = change_number(conn)
        box = set_state(
            conn,
            BOX,
            MailboxState.SUSPENDED,
            reason="congé",
            inbound=InboundMail.REFUSE,
            now=NOW,
        )
        assert change_number(conn) != number
        assert (box.state_since, box.state_reason, box.inbound) == (
            NOW,
            "congé",
            InboundMail.REFUSE,
        )
        # Once more: date and reason are those of the beginning.
        assert box == set_state(
            conn, BOX, MailboxState.SUSPENDED, reason="x", inbound=InboundMail.REFUSE, now=LATER
        )
        box = set_state(conn, BOX, MailboxState.ACTIVE, reason="retour", now=LATER)
        assert (box.state_since, box.state_reason, box.inbound) == (LATER, "retour", None)


def test_a_deleted_mailbox_is_restored_as_it_was(hosted: Database) -> None:
    with hosted.write() as conn:
        before = set_state(conn, BOX, MailboxState.SUSPENDED, inbound=InboundMail.REFUSE, now=NOW)
        number = change_number(conn)
        box = delete_mailbox(conn, BOX, reason="doublon", grace=GRACE, now=NOW)
        assert change_number(conn) != number
    assert (box.status, box.state, box.deleted_at) == ("deleted", MailboxState.CLOSED, NOW)
    assert (box.erase_after, box.erased_at, box.state_reason) == (NOW + GRACE, None, "doublon")
    with pytest.raises(InvalidState, match="deleted already"), hosted.write() as conn:
        delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=LATER)
    for state in MailboxState:
        with pytest.raises(InvalidState, match="is deleted"), hosted.write() as conn:
            set_state(conn, BOX, state)
    with hosted.write() as conn:
        number = change_number(conn)
        back = restore_mailbox(conn, BOX, reason="erreur", now=LATER)
        assert change_number(conn) != number
    assert (back.status, back.inbound) == ("suspended", before.inbound)
    assert (back.state_since, back.state_reason) == (LATER, "erreur")
    assert (back.deleted_at, back.erase_after) == (None, None)


def test_a_closed_mailbox_is_deleted_and_restored_closed(hosted: Database) -> None:
    with hosted.write() as conn:
        set_state(conn, BOX, MailboxState.CLOSED, now=NOW)
        delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=NOW)
        assert restore_mailbox(conn, BOX, reason="y", now=LATER).state is MailboxState.CLOSED


def test_restoring_has_an_end(hosted: Database) -> None:
    with pytest.raises(InvalidState, match="not deleted"), hosted.write() as conn:
        restore_mailbox(conn, BOX, reason="x", now=NOW)
    with hosted.write() as conn:
        box = delete_mailbox(conn, BOX, reason="x", grace=timedelta(0), now=NOW)
    assert box.erase_after == NOW + LEAST_GRACE
    # Due, and not begun: the content is there, whatever this clock says (decision 74).
    with hosted.write() as conn:
        assert restore_mailbox(conn, BOX, reason="x", now=LATER).status == "active"
        box = delete_mailbox(conn, BOX, reason="x", grace=timedelta(0), now=LATER)
        assert erase_batch(conn, box.id, LATER + LEAST_GRACE) is not None
    with pytest.raises(InvalidState, match="too late"), hosted.write() as conn:
        restore_mailbox(conn, BOX, reason="x", now=NOW)


def test_of_restoring_and_erasing_at_once_the_first_wins(hosted: Database) -> None:
    with hosted.write() as conn:
        box = delete_mailbox(conn, BOX, reason="x", grace=timedelta(0), now=NOW)
    refused: list[InvalidState] = []

    def restore() -> None:
        try:
            with hosted.write() as conn:
                restore_mailbox(conn, BOX, reason="x", now=NOW)
        except InvalidState as error:
            refused.append(error)

    other = Thread(target=restore)
    with hosted.write() as conn:
        erase_batch(conn, box.id, LATER)
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(30)
    assert "too late" in str(refused[0])
    with hosted.read() as conn:
        assert get_mailbox(conn, BOX).erased_at == LATER


def test_the_address_of_a_deleted_mailbox_is_not_given_again_domain_9_34(hosted: Database) -> None:
    """DOMAIN §9.34: not even to the same person, whose mail it would mix with."""
    with hosted.write() as conn:
        delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=NOW)
    with pytest.raises(Conflict, match="exists already"), hosted.write() as conn:
        add_mailbox(conn, BOX, MailboxType.PER, RPPS, now=LATER)
    with hosted.read() as conn:
        assert get_mailbox(conn, BOX).status == "deleted"


def test_a_clock_of_the_past_deletes_nothing(hosted: Database) -> None:
    """Its time of grace would be over at once when the clock is right again."""
    years_ago = NOW - timedelta(days=9000)
    with pytest.raises(InvalidState, match="set the clock"), hosted.write() as conn:
        delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=years_ago)
    with hosted.write() as conn:
        a_little = NOW - timedelta(minutes=1)  # another machine's clock
        assert delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=a_little).deleted_at


def test_watchers_are_told_of_each_change_of_the_state(hosted: Database) -> None:
    with hosted.read() as conn:
        number = get_mailbox(conn, BOX).id

    def told(act: Callable[[Connection], object]) -> set[int]:
        with told_mailboxes(hosted) as found, hosted.write() as conn:
            act(conn)
        return found

    suspended = MailboxState.SUSPENDED
    assert told(lambda conn: set_state(conn, BOX, suspended, now=NOW)) == {number}
    assert told(lambda conn: set_state(conn, BOX, suspended, now=NOW)) == set()
    assert told(lambda conn: delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=LATER)) == {
        number
    }
    assert told(lambda conn: restore_mailbox(conn, BOX, reason="x", now=LATER)) == {number}
    with hosted.write() as conn:
        delete_mailbox(conn, BOX, reason="x", grace=GRACE, now=LATER)
    assert told(lambda conn: erase_batch(conn, number, LATER + 2 * GRACE)) == {number}
