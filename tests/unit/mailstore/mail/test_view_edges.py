"""Views: acts before the first look, teams, erasure, limits."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailstore.db.folder_schema import folders
from mailstore.errors import LimitReached, NotFound
from mailstore.folders import expunge
from mailstore.folders.flags import Flag, FlagMode
from mailstore.folders.keywords import MAX_KEYWORDS
from mailstore.folders.lock import lock_mailbox
from mailstore.folders.tree import SPECIAL, Folder, Role
from mailstore.mail.view import MailboxView
from mailstore.mailboxes import erasure
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.teams.answers import link_answer
from mailstore.teams.assignments import take
from tests.support.storage.mail_house import MailHouse


def folder(view: MailboxView, role: Role) -> Folder:
    return next(one for one in view.folders() if one.role is role)


def uids(view: MailboxView, of: int) -> list[int]:
    return [row[0] for row in view.flags(of)]


def test_a_team_that_works_before_the_first_look_leaves_the_mailbox_whole(
    house: MailHouse,
) -> None:
    (name,) = house.deliver()
    with house.database.write() as conn:
        until = house.now + timedelta(hours=1)
        take(lock_mailbox(conn, house.a), name, 7, now=house.now, until=until)
    inbox, *others = house.view().folders()
    assert (inbox.role, inbox.messages, len(others)) == (Role.INBOX, 1, len(SPECIAL) - 1)


@pytest.mark.parametrize("private", [True, False])
def test_a_change_before_the_first_look_leaves_the_mailbox_whole(
    house: MailHouse, private: bool
) -> None:
    house.deliver()
    view = house.view(account_id=7)
    if private:
        view.set_private_seen(private=True)
    else:
        view.create_folder("Projets")
    assert [one.role for one in view.folders()][: len(SPECIAL)] == list(SPECIAL)
    assert view.folders()[0].messages == 1


def test_flags_of_a_folder_that_is_not_in_the_mailbox_are_not_read(house: MailHouse) -> None:
    house.deliver(1, house.b)
    one, two = house.view(house.a), house.view(house.b)
    for unknown in (folder(two, Role.INBOX).id, 0):
        with pytest.raises(NotFound):
            one.flags(unknown)


def test_nothing_is_read_once_the_erasure_has_begun(
    house: MailHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 1)
    (name, *_) = house.deliver(3)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    grace = timedelta(days=30)
    with house.database.write() as conn:
        delete_mailbox(conn, "a@a.mssante.fr", reason="x", grace=grace, now=house.now)
        begun = erasure.erase_batch(conn, house.a, house.now + grace)
    assert begun is not None
    assert not begun.done
    reads = (
        view.folders,
        view.keywords,
        view.quota,
        lambda: view.flags(inbox),
        lambda: view.messages(inbox),
        lambda: view.find([name]),
        lambda: view.changes(inbox),
        lambda: view.assignments([name]),
    )
    for read in reads:
        with pytest.raises(NotFound):
            read()


def test_messages_appended_at_once_keep_their_keywords_apart(house: MailHouse) -> None:
    """Also if the mailbox has a single bit left to give away."""
    house.deliver(1)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    kept = [f"k{number}" for number in range(MAX_KEYWORDS - 2)]
    view.set_flags(inbox, [1], FlagMode.ADD, kept)
    new = [house.letter(view, b"x\r\n", "one"), house.letter(view, b"x\r\n", "two")]
    view.append(inbox, new)
    assert [view.flag_names(*row[1:3]) for row in view.flags(inbox)[1:]] == [["one"], ["two"]]
    view.set_flags(inbox, [2, 3], FlagMode.SET, ["one"])
    with pytest.raises(LimitReached):
        view.append(
            inbox, [house.letter(view, b"x\r\n", "three"), house.letter(view, b"x\r\n", "four")]
        )


def test_a_message_that_a_person_has_taken_is_told_as_a_keyword(house: MailHouse) -> None:
    names = house.deliver(3)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    before = view.look().modseq
    assert view.changes(inbox).assigned == set()
    with house.database.write() as conn:
        until = house.now + timedelta(hours=1)
        take(lock_mailbox(conn, house.a), names[1], 7, now=house.now, until=until)
    view.copy(inbox, [2], folder(view, Role.ARCHIVE).id)
    after = view.changes(inbox, before)
    assert [row[0] for row in after.flags] == [2]
    assert after.assigned == {2}
    assert view.changes(folder(view, Role.ARCHIVE).id).assigned == {1}
    assert view.flag_names(Flag.SEEN, 0, assigned=True) == ["\\Seen", "$MSSPrisEnCharge"]
    held = view.assignments(names)
    assert {name: one.account_id for name, one in held.items()} == {names[1]: 7}
    assert house.view(house.b).assignments(names) == {}
    house.now = until  # the end counts from its moment on
    assert view.assignments(names) == {}
    assert view.changes(inbox, before).assigned == set()


def test_removed_folders_are_remembered_up_to_a_limit(
    house: MailHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expunge, "MAX_REMOVED", 2)
    view = house.view()
    states, removed = [view.look().modseq], []
    for _ in range(3):
        removed.append(view.create_folder("Projets").id)
        view.remove_folder(removed[-1])
        states.append(view.look().modseq)
    assert not view.mailbox_changes(states[0]).complete
    assert view.mailbox_changes(states[1]).folders_removed == tuple(removed[1:])
    with house.database.read() as conn:
        kept = folders.c.removed_modseq.is_not(None)
        assert list(conn.scalars(select(folders.c.id).where(kept))) == removed[1:]


def test_a_message_answered_before_the_first_look_is_shown_as_answered(house: MailHouse) -> None:
    one, other = house.deliver(2)
    with house.database.write() as conn:
        link_answer(lock_mailbox(conn, house.a), one, "f" * 32, 7, now=house.now)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    shown = {message.message_id: message.flags for message in view.messages(inbox)}
    assert shown == {one: Flag.ANSWERED, other: 0}
