"""Summaries, threads and searches of a mailbox, as a session asks for them."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from mailstore.db.schema import bodies
from mailstore.db.summary_schema import summaries
from mailstore.folders.flags import Flag, FlagMode
from mailstore.mail import reader as module
from mailstore.mail.view import open_mailbox
from mailstore.search import criteria as c
from mailstore.search import searching
from mailstore.search.conditions import MAX_RANGES
from mailstore.search.criteria import Field
from mailstore.summaries.model import Summary
from mailstore.summaries.reader import read_summary
from mailstore.summary_store.blocks import FEW, make_next_block
from mailstore.summary_store.making import make_summaries
from tests.support.clock import NOW
from tests.support.storage.letters import Letters, letter

BASE64 = (
    b"From: a@b.fr\r\nSubject: =?utf-8?b?w4ljaG8=?= du jour\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"TGUgY2/Du3QgZGUgbCfDqXRlaWdub2ly\r\n"
)
QUOTED = (
    b"From: a@b.fr\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<p>ord=\r\nonnance r=E9nale&nbsp;</p>\r\n"
)


def found(letters: Letters, criterion: c.Criterion) -> list[str]:
    return [hit.message_id for hit in letters.reader().search(criterion)]


def test_a_summary_is_made_once_and_read_by_both_mailboxes(letters: Letters) -> None:
    (one,) = letters.deliver(letter("Biopsie"), to=(letters.a, letters.b))
    for mailbox in (letters.a, letters.b):
        (summary,) = letters.reader(mailbox).summaries([one]).values()
        assert summary is not None
        assert summary.envelope.subject == "Biopsie"
    with letters.database.read() as conn:
        assert conn.scalar(select(func.count()).select_from(summaries)) == 1
        sealed = bytes(conn.execute(select(summaries.c.sealed)).scalar_one())
    assert b"Biopsie" not in sealed


def test_a_mailbox_reads_no_message_of_another(letters: Letters) -> None:
    (one,) = letters.deliver(letter(), to=(letters.b,))
    reader = letters.reader()
    assert reader.summaries([one]) == {}
    assert reader.threads([one]) == {}


def test_a_message_without_its_body_is_unreadable_and_the_others_are_not(letters: Letters) -> None:
    lost, kept = letters.deliver(letter("perdu"), letter("gardé"))
    with letters.database.write() as conn:
        first = conn.execute(select(bodies.c.blob).order_by(bodies.c.used_at)).scalars().first()
        conn.execute(bodies.delete().where(bodies.c.blob == first))
    reader = letters.reader()
    read = reader.summaries([lost, kept])
    assert read[lost] is None
    assert read[kept] is not None
    assert reader.search_folder(1, c.Holds(Field.SUBJECT, "perdu")) == []
    assert found(letters, c.Body("texte")) == [kept]
    assert set(reader.threads([lost, kept])) == {lost, kept}


def test_a_session_keeps_few_summaries(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    ids = letters.deliver(*(letter(str(n)) for n in range(4)))
    reader = letters.reader()
    assert len(reader.summaries(ids)) == 4
    assert len(reader._kept) == 2
    assert all(reader.summaries(ids).values())


@pytest.mark.parametrize("in_blocks", [False, True])
def test_each_field_is_searched(letters: Letters, in_blocks: bool) -> None:
    wanted = letter("Compte rendu d'ÉCHOGRAPHIE", Cc="Zoé <zoe@c.mssante.fr>", X_Etage="Trois")
    one, two = letters.deliver(wanted, BASE64)
    three, four = letters.deliver(QUOTED, letter(), sender="labo@d.mssante.fr")
    if in_blocks:
        letters.deliver(*(letter("rien") for _ in range(FEW)))
        letters.view()
        assert make_next_block(letters.store, letters.seal, letters.a)
    expected: dict[c.Criterion, list[str]] = {
        c.Holds(Field.SUBJECT, "échographie"): [one],
        c.Holds(Field.SUBJECT, "écho"): [one, two],
        c.Holds(Field.CC, "ZOE@c"): [one],
        c.Holds(Field.CC, ""): [one],
        c.Holds(Field.SENDER, "labo@"): [three, four],
        c.HeaderField("From", "a@b.fr"): [two, three],
        c.HeaderField("X-Etage", "trois"): [one],
        c.HeaderField("x-etage", ""): [one],
        c.Body("étei"): [two],
        c.Body("ordonnance rénale"): [three],
        c.Body("écho"): [],
        c.AnyText("écho"): [one, two],
        c.AnyText("étei"): [two],
        c.And((c.Holds(Field.SUBJECT, "écho"), c.Not(c.Holds(Field.CC, "zoe")))): [two],
        c.And((c.MessageIds((one, three)), c.Not(c.Body("rénale")))): [one],
        c.Or((c.Holds(Field.CC, "zoe"), c.Body("rénale"))): [one, three],
        c.And((c.Uids(((2, 3),)), c.Not(c.Body("rénale")))): [two],
        c.And((c.Sent(since=date(2026, 11, 22)), c.Holds(Field.CC, "zoe"))): [one],
        c.And((c.Sent(before=date(2026, 11, 22)), c.Uids(((1, 4),)))): [],
        c.Uids(((1, 1), (4, 4))): [one, four],
    }
    for criterion, ids in expected.items():
        assert found(letters, criterion) == ids, criterion


def test_flags_dates_and_sizes_are_asked_of_the_rows(letters: Letters) -> None:
    one, two = letters.deliver(letter(), letter(text="long " * 100))
    view = letters.view()
    inbox = view.folders()[0].id
    view.set_flags(inbox, [1], FlagMode.ADD, ["\\Seen", "urgent"])
    late = NOW + timedelta(seconds=2)
    expected: dict[c.Criterion, list[str]] = {
        c.All(): [one, two],
        c.And(()): [one, two],
        c.Or(()): [],
        c.Flagged(Flag.SEEN): [one],
        c.Not(c.Flagged(Flag.SEEN)): [two],
        c.Keyword("URGENT"): [one],
        c.Keyword("inconnu"): [],
        c.Arrived(since=late): [two],
        c.Arrived(before=late): [one],
        c.Saved(since=datetime(2000, 1, 1, tzinfo=UTC)): [one, two],
        c.Size(larger=600): [two],
        c.Size(smaller=600): [one],
        c.InFolders((inbox,)): [one, two],
        c.InFolders((inbox + 1,)): [],
        c.Changed(2): [one],
    }
    for criterion, ids in expected.items():
        assert found(letters, criterion) == ids, criterion
    assert letters.reader().search_folder(inbox, c.Not(c.Flagged(Flag.SEEN))) == [2]


@pytest.mark.parametrize("few", [0, 20_000], ids=["all rows", "rows by id"])
def test_facts_of_rows_blocks_and_bodies_are_joined_for_each_message(
    letters: Letters, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(searching, "FEW", few)
    words = [("biopsie", "foie"), ("biopsie", "rate"), ("bilan", "foie"), ("bilan", "rate")] * 3
    letters.deliver(*(letter(subject, text) for subject, text in words))
    view = letters.view()
    inbox = view.folders()[0].id
    view.set_flags(inbox, range(1, 13, 3), FlagMode.ADD, ["\\Seen"])
    leaves: dict[c.Criterion, set[int]] = {
        c.Holds(Field.SUBJECT, "biopsie"): {n for n in range(1, 13) if n % 4 in (1, 2)},
        c.Body("foie"): set(range(1, 13, 2)),
        c.AnyText("bilan"): {n for n in range(1, 13) if n % 4 in (3, 0)},
        c.Flagged(Flag.SEEN): set(range(1, 13, 3)),
        c.Uids(tuple((n, n) for n in range(2, 9) for _ in range(MAX_RANGES))): set(range(2, 9)),
    }
    search, everything = letters.reader().search_folder, set(range(1, 13))
    for (one, first), (two, second), (three, third) in itertools.permutations(leaves.items(), 3):
        both = c.And((one, c.Not(two)))
        assert search(inbox, both) == sorted(first - second)
        assert search(inbox, c.Or((both, three))) == sorted(first - second | third)
        assert search(inbox, c.Not(both)) == sorted(everything - first | second)


def test_seen_is_each_persons_own_where_it_is_private(letters: Letters) -> None:
    letters.deliver(letter(), letter())
    view = letters.view()
    inbox = view.folders()[0].id
    view.set_private_seen(private=True)
    mine = open_mailbox(letters.store, letters.a, letters.seal, lambda: NOW, 7)
    mine.set_flags(inbox, [2], FlagMode.ADD, ["\\Seen"])
    seen = c.Flagged(Flag.SEEN)
    for person, uids in ((7, [2]), (8, [])):
        reader = module.open_reader(letters.store, letters.a, letters.seal, person)
        assert reader.search_folder(inbox, seen) == uids


def test_an_expunged_message_is_not_found_though_its_block_has_it(letters: Letters) -> None:
    letters.deliver(*(letter("Biopsie") for _ in range(FEW)))
    view = letters.view()
    assert make_next_block(letters.store, letters.seal, letters.a)
    inbox = view.folders()[0].id
    view.expunge(inbox, [1])
    wanted = c.Holds(Field.SUBJECT, "biopsie")
    assert letters.reader().search_folder(inbox, wanted) == list(range(2, FEW + 1))


def test_answers_are_in_the_thread_of_their_message(letters: Letters) -> None:
    first, answer, other, alone = letters.deliver(
        letter("Avis", Message_ID="<1@x>"),
        letter("Re: Avis", Message_ID="<2@x>", References="<1@x>"),
        letter("Autre chose", Message_ID="<3@x>", References="<1@x>"),
        letter("Avis"),
    )
    reader = letters.reader()
    threads = reader.threads([answer, first, other, alone])
    assert threads[first] == threads[answer]
    assert len(set(threads.values())) == 3
    assert reader.thread(threads[first]) == [first, answer]
    assert reader.thread("0" * 32) == []
    assert reader.threads([first]) == {first: threads[first]}
    assert found(letters, c.ThreadIds((threads[first],))) == [first, answer]


def test_a_thread_is_found_by_the_flags_of_its_messages(letters: Letters) -> None:
    first, answer, alone = letters.deliver(
        letter("Avis", Message_ID="<1@x>"),
        letter("Re: Avis", Message_ID="<2@x>", References="<1@x>"),
        letter("Seul"),
    )
    letters.reader().threads([first, answer, alone])
    view = letters.view()
    view.set_flags(view.folders()[0].id, [2], FlagMode.ADD, ["\\Flagged"])
    flagged = c.Flagged(Flag.FLAGGED)
    assert found(letters, c.InThread(flagged)) == [first, answer]
    assert found(letters, c.Not(c.InThread(flagged))) == [alone]
    assert found(letters, c.Not(c.InThread(c.Not(flagged)))) == []


def test_an_error_of_the_reader_is_logged_by_its_type_and_hides_no_other(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = letters.deliver(letter("one"), letter("Zygomorphe"), letter("three"))

    def failing(body: BinaryIO, trace: bytes) -> Summary:
        if b"Zygomorphe" in body.read():
            raise ZeroDivisionError("Zygomorphe")
        body.seek(0)
        return read_summary(body, trace)

    monkeypatch.setattr("mailstore.summary_store.making.read_summary", failing)
    with capture_logs() as logs:
        found = make_summaries(letters.store, letters.seal, ids)
    assert [one is None for one in found.values()] == [False, True, False]
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("summaries.fault", "error")
    assert (line["why"], line["message"]) == ("ZeroDivisionError", ids[1])
    assert "Zygomorphe" not in str(logs)
