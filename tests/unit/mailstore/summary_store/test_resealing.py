"""Summaries, blocks and threads sealed anew, so that an older key can go."""

from mailstore.blobs.gc import rewrite_blobs
from mailstore.db.summary_schema import summaries
from mailstore.sealed.keyring import Keyring, rotate
from mailstore.sealed.row_seal import RowSeal
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.blocks import FEW, make_next_block
from mailstore.summary_store.resealing import reseal_summaries
from tests.support.clock import NOW
from tests.support.storage.letters import Letters, letter


def fill(letters: Letters) -> dict[str, str]:
    """Messages in a block, each with a thread."""
    ids = letters.deliver(*(letter(f"s{n}", Message_ID=f"<{n}@x>") for n in range(FEW)))
    threads = letters.reader().threads(ids)
    assert make_next_block(letters.store, letters.seal, letters.a)
    return threads


def test_only_the_newest_key_is_needed_then(letters: Letters) -> None:
    fill(letters)
    keys = letters.seal.keys
    assert keys is not None
    assert reseal_summaries(letters.database, letters.seal) == 0
    rotate(keys.path, NOW)
    assert reseal_summaries(letters.database, letters.seal) == FEW + 1
    assert reseal_summaries(letters.database, letters.seal) == 0
    rewrite_blobs(letters.store.blobs)
    lines = keys.path.read_text().splitlines(keepends=True)
    keys.path.write_text("".join(line for line in lines if keys.newest.id.hex() in line))
    newest = RowSeal(Keyring(keys.path))
    (one,) = letters.deliver(letter("Re: s7", Message_ID="<r@x>", References="<7@x>"))
    reader = letters.reader()
    reader._seal = newest
    (hit,) = reader.search(c.And((c.Holds(Field.SUBJECT, "s7"), c.Not(c.MessageIds((one,))))))
    assert reader.threads([one])[one] == reader.threads([hit.message_id])[hit.message_id]


def test_an_answer_finds_its_thread_between_rotation_and_rewriting(letters: Letters) -> None:
    threads = fill(letters)
    keys = letters.seal.keys
    assert keys is not None
    rotate(keys.path, NOW)
    (one,) = letters.deliver(letter("Re: s7", Message_ID="<r@x>", References="<7@x>"))
    assert letters.reader().threads([one])[one] in threads.values()


def test_a_row_that_cannot_be_opened_stops_no_other(letters: Letters) -> None:
    fill(letters)
    keys = letters.seal.keys
    assert keys is not None
    with letters.database.write() as conn:
        first = conn.scalar(summaries.select().with_only_columns(summaries.c.message_id).limit(1))
        altered = summaries.update().where(summaries.c.message_id == first)
        conn.execute(altered.values(sealed=b"\1" + bytes(60)))
    rotate(keys.path, NOW)
    assert reseal_summaries(letters.database, letters.seal) == FEW
