"""Search blocks: made of new messages, and anew when messages left them or came back."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, update

from mailstore.db.schema import bodies, mailboxes
from mailstore.db.summary_schema import message_threads, search_blocks, summaries, thread_keys
from mailstore.errors import SealBroken
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.backlog import mailboxes_without_blocks
from mailstore.summary_store.block_form import Text
from mailstore.summary_store.block_rows import BlockRange, open_block, sealed_blocks
from mailstore.summary_store.blocks import FEW, FULL, make_next_block, remake_blocks
from tests.support.clock import NOW
from tests.support.storage.letters import Letters, letter

GRACE = timedelta(days=30)


def subjects(letters: Letters) -> list[list[str]]:
    """Subjects in each block."""
    with letters.database.read() as conn:
        found = sealed_blocks(conn, letters.a)
    return [open_block(place, sealed, letters.seal).lines(Text.SUBJECT) for place, sealed in found]


def counted(letters: Letters) -> list[BlockRange]:
    with letters.database.read() as conn:
        return [place for place, _ in sealed_blocks(conn, letters.a)]


def needy(letters: Letters) -> tuple[int, ...]:
    with letters.database.read() as conn:
        return mailboxes_without_blocks(conn, 0, 100).needy


def make(letters: Letters) -> bool:
    return make_next_block(letters.store, letters.seal, letters.a)


def arrive(letters: Letters, count: int, name: str = "s") -> list[str]:
    ids = letters.deliver(*(letter(f"{name}{number}") for number in range(count)))
    letters.view()
    return ids


def test_few_new_messages_wait_for_a_block(letters: Letters) -> None:
    arrive(letters, FEW - 1)
    assert needy(letters) == ()
    assert not make(letters)
    arrive(letters, 1, "t")
    assert needy(letters) == (letters.a,)
    assert make(letters)
    assert needy(letters) == ()
    assert subjects(letters) == [[*(f"s{n}" for n in range(FEW - 1)), "t0"]]
    assert not make(letters)


def test_a_block_fills_up_then_the_next_begins(letters: Letters) -> None:
    for number in range(3):
        arrive(letters, FEW, f"{number}.")
        assert make(letters)
        assert len(subjects(letters)) == 1
    arrive(letters, FULL)
    assert make(letters)
    assert [len(one) for one in subjects(letters)] == [3 * FEW, FULL]
    places = counted(letters)
    assert places[1].first == places[0].last + 1


def test_messages_placed_together_are_in_one_block(letters: Letters) -> None:
    letters.deliver(*(letter(str(n)) for n in range(FULL + 10)))
    letters.view()
    assert make(letters)
    assert [len(one) for one in subjects(letters)] == [FULL + 10]


def test_an_expunged_message_leaves_its_block(letters: Letters) -> None:
    arrive(letters, FEW)
    make(letters)
    view = letters.view()
    inbox = view.folders()[0].id
    view.expunge(inbox, [1, 3])
    assert needy(letters) == (letters.a,)
    assert remake_blocks(letters.store, letters.seal, letters.a) == 1
    assert subjects(letters) == [["s1", *(f"s{n}" for n in range(3, FEW))]]
    assert needy(letters) == ()
    view.expunge(inbox, range(1, FEW + 1))
    assert remake_blocks(letters.store, letters.seal, letters.a) == 1
    assert subjects(letters) == []
    assert needy(letters) == ()


def test_a_moved_message_stays_in_its_block(letters: Letters) -> None:
    arrive(letters, FEW)
    make(letters)
    view = letters.view()
    inbox, archive = (one.id for one in view.folders()[:2])
    view.move(inbox, [1], archive)
    assert needy(letters) == ()
    reader = letters.reader()
    assert reader.search_folder(archive, c.Holds(Field.SUBJECT, "s0")) == [1]


def test_a_message_that_can_be_read_again_comes_into_its_block(letters: Letters) -> None:
    arrive(letters, FEW - 1)
    with letters.database.write() as conn:
        kept = conn.execute(select(bodies).limit(1)).mappings().one()
        conn.execute(delete(bodies).where(bodies.c.blob == kept["blob"]))
    arrive(letters, 1, "t")
    assert make(letters)
    assert len(subjects(letters)[0]) == FEW - 1
    assert needy(letters) == ()  # nothing to do until the body is back
    with letters.database.write() as conn:
        conn.execute(bodies.insert().values(**kept))
    ids = [hit.message_id for hit in letters.reader().search(c.All())]
    assert all(letters.reader().summaries(ids).values())
    assert needy(letters) == (letters.a,)
    assert remake_blocks(letters.store, letters.seal, letters.a) == 1
    assert len(subjects(letters)[0]) == FEW
    assert needy(letters) == ()


def test_an_altered_block_is_passed_over_and_searched_by_summaries(letters: Letters) -> None:
    arrive(letters, FEW)
    make(letters)
    with letters.database.write() as conn:
        conn.execute(update(search_blocks).values(last=search_blocks.c.last + 1))
    place = counted(letters)[0]
    with letters.database.read() as conn:
        sealed = sealed_blocks(conn, letters.a)[0][1]
    with pytest.raises(SealBroken):
        open_block(place, sealed, letters.seal)
    found = letters.reader().search(c.Holds(Field.SUBJECT, "s5"))
    assert [hit.uid for hit in found] == [6]


def test_nothing_about_an_erased_mailbox_stays(letters: Letters) -> None:
    ids = arrive(letters, FEW)
    make(letters)
    letters.reader().threads(ids)
    with letters.database.write() as conn:
        delete_mailbox(conn, "a@a.mssante.fr", reason="fin", grace=GRACE, now=NOW)
        assert erase_batch(conn, letters.a, NOW + GRACE)
    assert not make(letters)
    with letters.database.read() as conn:
        for table in (search_blocks, message_threads, thread_keys, summaries):
            assert conn.scalar(select(func.count()).select_from(table)) == 0


def test_a_mailbox_whose_erasure_has_begun_gets_no_block(letters: Letters) -> None:
    arrive(letters, FEW)
    with letters.database.write() as conn:
        conn.execute(update(mailboxes).values(erased_at=NOW))
    assert not make(letters)
    assert counted(letters) == []
