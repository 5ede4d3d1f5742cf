"""Contract of the view of a mailbox: what doors rely on."""

import pytest

from mailstore.errors import Conflict, InvalidName, InvalidState, LimitReached, NotFound
from mailstore.folders import expunge
from mailstore.folders.flags import Flag, FlagMode
from mailstore.folders.tree import SPECIAL, Folder, Role
from mailstore.mail.view import MailboxView
from mailstore.messages.messages import get_message
from tests.support.storage.mail_house import OCTETS, MailHouse


def folder(view: MailboxView, role: Role) -> Folder:
    return next(one for one in view.folders() if one.role is role)


def uids(view: MailboxView, of: int) -> list[int]:
    return [row[0] for row in view.flags(of)]


def test_the_first_look_makes_special_folders_and_places_mail(house: MailHouse) -> None:
    ids = house.deliver(3)
    view = house.view()
    found = view.folders()
    assert [(one.role, one.name) for one in found] == list(SPECIAL.items())
    inbox = found[0]
    assert (inbox.messages, inbox.unseen, inbox.uid_next) == (3, 3, 4)
    assert inbox.octets == 3 * OCTETS
    messages = view.messages(inbox.id)
    assert [(one.uid, one.message_id) for one in messages] == list(enumerate(ids, 1))
    assert {(one.size, one.flags, one.internal_date) for one in messages} == {
        (OCTETS, 0, house.now)
    }


def test_a_look_without_news_changes_nothing(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    first = view.look()
    assert view.look() == first
    assert house.view().look() == first
    house.deliver()
    assert view.look().modseq > first.modseq


def test_mail_of_another_mailbox_is_not_seen(house: MailHouse) -> None:
    house.deliver(1, house.a, house.b)
    house.deliver(1, house.b)
    one, two = house.view(house.a), house.view(house.b)
    assert [one.look().messages, two.look().messages] == [1, 2]
    with pytest.raises(NotFound):
        one.messages(folder(two, Role.INBOX).id)
    with pytest.raises(NotFound):
        one.move(folder(one, Role.INBOX).id, [1], folder(two, Role.TRASH).id)


def test_flags_are_added_removed_and_set(house: MailHouse) -> None:
    house.deliver(3)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    before = view.look().modseq
    assert view.set_flags(inbox, [1, 2, 9], FlagMode.ADD, ["\\SEEN", "$Label1"]).done == (1, 2)
    after = view.changes(inbox, before)
    assert [row[0] for row in after.flags] == [1, 2]
    assert {row[3] for row in after.flags} == {after.modseq}
    assert after.modseq > before
    assert after.folder.unseen == 1
    assert view.flag_names(*after.flags[0][1:3]) == ["\\Seen", "$Label1"]
    view.set_flags(inbox, [1], FlagMode.REMOVE, ["$label1", "unknown", "\\Flagged"])
    view.set_flags(inbox, [2], FlagMode.SET, ["\\Draft", "$MDNSent"])
    rows = view.flags(inbox)
    assert [row[1] for row in rows] == [Flag.SEEN, Flag.DRAFT | Flag.MDN_SENT, 0]
    assert [row[2] for row in rows] == [0, 0, 0]
    assert folder(view, Role.INBOX).unseen == 2


def test_flags_that_are_there_already_are_no_change(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    view.set_flags(inbox, [1], FlagMode.ADD, ["\\Flagged"])
    before = view.look().modseq
    assert view.set_flags(inbox, [1], FlagMode.ADD, ["\\Flagged"]).done == (1,)
    assert view.look().modseq == before


def test_a_message_changed_since_is_left_alone(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    seen = view.look().modseq
    view.set_flags(inbox, [1], FlagMode.ADD, ["\\Flagged"])
    done = view.set_flags(inbox, [1, 2], FlagMode.SET, ["\\Answered"], unchanged_since=seen)
    assert (done.done, done.modified) == ((2,), (1,))
    assert [row[1] for row in view.flags(inbox)] == [Flag.FLAGGED, Flag.ANSWERED]


def test_an_appended_message_is_read_back(house: MailHouse) -> None:
    view = house.view()
    drafts = folder(view, Role.DRAFTS)
    new = [house.letter(view, b"one\r\n", "\\Draft", "\\Seen"), house.letter(view, b"three\r\n")]
    done = view.append(drafts.id, new)
    assert (done.uid_validity, done.uids) == (drafts.uid_validity, (1, 2))
    found = view.messages(drafts.id)
    assert [(one.message_id, one.size, one.flags) for one in found] == [
        (new[0].id, 5, Flag.DRAFT | Flag.SEEN),
        (new[1].id, 7, 0),
    ]
    with house.database.read() as conn:
        blob = get_message(conn, new[0].id).message.blob
    with house.store.blobs.open(blob) as body:
        assert body.read() == b"one\r\n"
    after = folder(view, Role.DRAFTS)
    assert (after.messages, after.octets, after.unseen) == (2, 12, 1)


def test_a_copy_is_another_entry_of_the_message(house: MailHouse) -> None:
    (name,) = house.deliver()
    view = house.view()
    inbox, archive = folder(view, Role.INBOX).id, folder(view, Role.ARCHIVE).id
    view.set_flags(inbox, [1], FlagMode.ADD, ["\\Seen", "x"])
    done = view.copy(inbox, [1, 7], archive)
    assert done.pairs == ((1, 1),)
    one, two = view.find([name])
    assert (one.folder_id, two.folder_id) == (inbox, archive)
    assert one.entry_id != two.entry_id
    assert (one.flags, one.keywords) == (two.flags, two.keywords) == (Flag.SEEN, 1)
    assert view.look().octets == 2 * OCTETS
    view.expunge(inbox, [1])
    assert [one.folder_id for one in view.find([name])] == [archive]
    with house.database.read() as conn:
        assert len(get_message(conn, name).entries) == 1


def test_a_moved_message_keeps_its_entry(house: MailHouse) -> None:
    house.deliver(3)
    view = house.view()
    inbox, trash = folder(view, Role.INBOX).id, folder(view, Role.TRASH).id
    before = view.look().modseq
    entry = view.messages(inbox, [2])[0].entry_id
    done = view.move(inbox, [2, 3], trash)
    assert done.pairs == ((2, 1), (3, 2))
    assert view.messages(trash)[0].entry_id == entry
    left = view.changes(inbox, before)
    assert (left.vanished, list(left.flags)) == ((2, 3), [])
    assert uids(view, inbox) == [1]
    assert view.look().messages == 3
    # Back again, it gets a new UID.
    view.move(trash, [1], inbox)
    assert uids(view, inbox) == [1, 4]


def test_an_expunged_message_is_gone_and_known_as_gone(house: MailHouse) -> None:
    ids = house.deliver(3)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    before = view.look()
    assert view.expunge(inbox, [1, 3, 8]) == (1, 3)
    assert view.expunge(inbox, [1]) == ()
    found = view.mailbox_changes(before.modseq)
    assert [one.message_id for one in found.vanished] == [ids[0], ids[2]]
    assert [one.id for one in found.folders] == [inbox]
    assert view.look().octets == before.octets - 2 * OCTETS
    with house.database.read() as conn, pytest.raises(NotFound):
        get_message(conn, ids[0])


def test_a_message_that_another_mailbox_holds_stays_there(house: MailHouse) -> None:
    (name,) = house.deliver(1, house.a, house.b)
    one, two = house.view(house.a), house.view(house.b)
    one.expunge(folder(one, Role.INBOX).id, [1])
    assert two.look().messages == 1
    assert len(two.find([name])) == 1


def test_a_replacement_comes_and_goes_at_once(house: MailHouse) -> None:
    view = house.view()
    drafts = folder(view, Role.DRAFTS).id
    view.append(drafts, [house.letter(view, b"first\r\n")])
    before = view.look().modseq
    new = house.letter(view, b"second\r\n", "\\Draft")
    assert view.replace(drafts, 1, drafts, new).uids == (2,)
    found = view.changes(drafts, before)
    assert ([row[0] for row in found.flags], found.vanished) == ([2], (1,))
    assert {row[3] for row in found.flags} == {found.modseq}
    with pytest.raises(NotFound, match="gone"):
        view.replace(drafts, 1, drafts, house.letter(view))
    assert uids(view, drafts) == [2]


def test_folders_are_made_moved_and_removed(house: MailHouse) -> None:
    view = house.view()
    view.look()
    one = view.create_folder("Patients")
    two = view.create_folder("e\u0301t\u00e9", one.id)
    assert two.name == "été"
    with pytest.raises(Conflict):
        view.create_folder("été", one.id)
    with pytest.raises(Conflict, match="folders in it"):
        view.remove_folder(one.id)
    with pytest.raises(InvalidState, match="itself"):
        view.rename_folder(one.id, "x", two.id)
    view.rename_folder(two.id, "Hiver", None)
    view.subscribe(two.id, subscribed=False)
    found = view.folder(two.id)
    assert (found.name, found.parent_id, found.subscribed) == ("Hiver", None, False)
    assert found.uid_validity == two.uid_validity
    view.rename_folder(one.id, "Hiver", two.id)
    view.remove_folder(one.id)
    with pytest.raises(NotFound):
        view.folder(one.id)


def test_a_folder_goes_with_its_messages_and_its_name_returns_anew(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    one = view.create_folder("Patients")
    view.move(inbox, [1, 2], one.id)
    before = view.look().modseq
    view.remove_folder(one.id)
    changes = view.mailbox_changes(before)
    assert changes.folders_removed == (one.id,)
    assert [(gone.folder_id, gone.uid) for gone in changes.vanished] == [(one.id, 1), (one.id, 2)]
    assert view.look().messages == 0
    again = view.create_folder("Patients")
    assert again.uid_validity > one.uid_validity


def test_the_inbox_and_special_folders_stay(house: MailHouse) -> None:
    view = house.view()
    inbox, sent = folder(view, Role.INBOX), folder(view, Role.SENT)
    with pytest.raises(InvalidState):
        view.rename_folder(inbox.id, "x", None)
    for one in (inbox, sent):
        with pytest.raises(InvalidState):
            view.remove_folder(one.id)
    with pytest.raises(InvalidName):
        view.create_folder("Inbox")
    view.rename_folder(sent.id, "Envoyés", None)
    assert folder(view, Role.SENT).name == "Envoyés"


def test_folders_have_a_greatest_depth(house: MailHouse) -> None:
    view = house.view()
    view.look()
    parent = None
    for number in range(10):
        parent = view.create_folder(f"f{number}", parent).id
    with pytest.raises(LimitReached):
        view.create_folder("x", parent)
    loose = view.create_folder("loose")
    with pytest.raises(LimitReached):
        view.rename_folder(loose.id, "loose", parent)


def test_seen_is_private_where_the_mailbox_says_so(house: MailHouse) -> None:
    house.deliver(3)
    one, two = house.view(account_id=11), house.view(account_id=12)
    inbox = folder(one, Role.INBOX).id
    one.set_flags(inbox, [1], FlagMode.ADD, ["\\Seen"])
    one.set_private_seen(private=True)
    before = two.look().modseq
    one.set_flags(inbox, [2, 3], FlagMode.ADD, ["\\Seen", "\\Flagged"])
    two.set_flags(inbox, [1], FlagMode.REMOVE, ["\\Seen"])
    seen = [[bool(row[1] & Flag.SEEN) for row in view.flags(inbox)] for view in (one, two)]
    assert seen == [[True, True, True], [False, False, False]]
    assert {row[1] & Flag.FLAGGED for row in two.flags(inbox)[1:]} == {Flag.FLAGGED}
    assert [view.folder(inbox).unseen for view in (one, two)] == [0, 3]
    assert [row[0] for row in one.changes(inbox, before).flags] == [2, 3]
    assert [row[0] for row in two.changes(inbox, before).flags] == [1, 2, 3]
    changed = two.mailbox_changes(before).messages
    assert sorted(message.uid for message in changed) == [1, 2, 3]
    late = two.set_flags(inbox, [1], FlagMode.ADD, ["\\Seen"], unchanged_since=before)
    assert late.modified == (1,)
    # Shared again: seen by anybody is seen.
    one.set_private_seen(private=False)
    assert [bool(row[1] & Flag.SEEN) for row in two.flags(inbox)] == [True, True, True]
    assert two.folder(inbox).unseen == 0
    assert [row[0] for row in two.changes(inbox, before).flags] == [1, 2, 3]


def test_a_state_below_the_floor_gets_everything(
    house: MailHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expunge, "MAX_EXPUNGED", 2)
    house.deliver(6)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    states = [view.look().modseq]
    for uid in (1, 2, 3):
        view.expunge(inbox, [uid])
        states.append(view.look().modseq)
    old = view.changes(inbox, states[0])
    assert (old.vanished, [row[0] for row in old.flags]) == (None, [4, 5, 6])
    assert not view.mailbox_changes(states[0]).complete
    for known, gone in zip(states[1:], [(2, 3), (3,), ()], strict=True):
        assert view.changes(inbox, known).vanished == gone
    # A state that the mailbox never gave is no base for a difference.
    assert view.changes(inbox, states[-1] + 5).vanished is None


def test_changes_of_the_mailbox_come_in_pages(house: MailHouse) -> None:
    house.deliver(3)
    view = house.view()
    inbox = folder(view, Role.INBOX).id
    for uid in (3, 1):
        view.set_flags(inbox, [uid], FlagMode.ADD, ["\\Flagged"])
    since, found, newest = 0, [], view.look().modseq
    while since < newest:
        page = view.mailbox_changes(since, 2)
        assert page.modseq > since
        since = page.modseq
        found.append([one.uid for one in page.messages])
    assert [uid for page in found for uid in page] == [2, 3, 1]
    assert since == view.look().modseq


def test_an_unknown_mailbox_is_not_opened(house: MailHouse) -> None:
    with pytest.raises(NotFound):
        house.view(house.b + 1)
