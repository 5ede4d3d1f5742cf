"""Any sequence of acts in two sessions of a mailbox: a session that asks for changes misses none.

Model: the messages of two folders in plain Python. Each session knows a folder by its changes
alone, as a client does.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mailstore.db.database import Database
from mailstore.folders import expunge as expunging
from mailstore.folders.flags import Flag, FlagMode
from mailstore.mail.view import MailboxView
from mailstore.mailboxes.usage import used_octets
from tests.support.storage.mail_house import OCTETS, MailHouse, add_mailboxes, open_house
from tests.support.storage.migrated import migrated_copy

MAX_EXPUNGED = 6
NAMES = ("\\Seen", "\\Flagged", "label")
UIDS = st.sets(st.integers(1, 12), min_size=1, max_size=4)
SIDES = st.booleans()


@dataclass
class Known:
    """A folder as a session knows it: names of flags by UID, as of a state."""

    rows: dict[int, frozenset[str]] = field(default_factory=dict)
    modseq: int = 0


class Sessions(RuleBasedStateMachine):
    """Model: by folder, flags by UID; every UID that a folder ever gave."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.database = Database(migrated_copy(self.folder / "db"))
        self.house = MailHouse(
            open_house(self.database, self.folder), *add_mailboxes(self.database)
        )
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(expunging, "MAX_EXPUNGED", MAX_EXPUNGED)
        self.views = [self.house.view(), self.house.view()]
        self.folders = [one.id for one in self.views[0].folders()][:2]
        self.model: list[dict[int, frozenset[str]]] = [{}, {}]
        self.octets: dict[tuple[int, int], int] = {}
        self.next_uid = [1, 1]
        self.waiting = 0
        self.known = [[Known(), Known()], [Known(), Known()]]

    def teardown(self) -> None:
        self.patch.undo()
        self.house.store.close()
        shutil.rmtree(self.folder)

    def _view(self, second: bool) -> MailboxView:
        return self.views[second]

    def _placed(self) -> None:
        """The model after new mail got its UIDs."""
        for _ in range(self.waiting):
            self._add(0, frozenset(), OCTETS)
        self.waiting = 0

    def _add(self, side: int, flags: frozenset[str], octets: int) -> int:
        uid = self.next_uid[side]
        self.next_uid[side] += 1
        self.model[side][uid] = flags
        self.octets[side, uid] = octets
        return uid

    def _drop(self, side: int, uid: int) -> tuple[frozenset[str], int]:
        return self.model[side].pop(uid), self.octets.pop((side, uid))

    @rule(count=st.integers(1, 3))
    def mail_comes(self, count: int) -> None:
        self.house.deliver(count)
        self.waiting += count

    @rule(second=SIDES, side=SIDES)
    def a_session_looks(self, second: bool, side: bool) -> None:
        known = self.known[second][side]
        found = self._view(second).changes(self.folders[side], known.modseq)
        self._placed()
        assert found.modseq >= known.modseq
        rows = {
            uid: frozenset(
                [NAMES[0]] * bool(flags & Flag.SEEN)
                + [NAMES[1]] * bool(flags & Flag.FLAGGED)
                + found.keywords.of(keywords)
            )
            for uid, flags, keywords, _ in found.flags
        }
        if found.vanished is None:
            known.rows = rows
        else:
            assert all(row[3] > known.modseq for row in found.flags)
            known.rows |= rows
            for uid in found.vanished:
                known.rows.pop(uid, None)
        known.modseq = found.modseq
        assert known.rows == self.model[side]

    @rule(
        second=SIDES, side=SIDES, uids=UIDS, mode=st.sampled_from(FlagMode),
        names=st.sets(st.sampled_from(NAMES)), since_known=SIDES,
    )  # fmt: skip
    def flags_are_set(
        self, second: bool, side: bool, uids: set[int], mode: FlagMode, names: set[str],
        since_known: bool,
    ) -> None:  # fmt: skip
        known = self.known[second][side]
        since = known.modseq if since_known else None
        done = self._view(second).set_flags(
            self.folders[side], uids, mode, sorted(names), unchanged_since=since
        )
        there = uids & self.model[side].keys()
        assert {*done.done, *done.modified} == there
        assert since_known or not done.modified
        for uid in done.done:
            if since is not None:
                assert known.rows[uid] == self.model[side][uid]
            flags = self.model[side][uid]
            self.model[side][uid] = {
                FlagMode.ADD: flags | names,
                FlagMode.REMOVE: flags - names,
                FlagMode.SET: frozenset(names),
            }[mode]

    @rule(second=SIDES, side=SIDES, size=st.integers(1, 9), seen=SIDES)
    def a_message_is_appended(self, second: bool, side: bool, size: int, seen: bool) -> None:
        view = self._view(second)
        flags = [NAMES[0]] * seen
        new = self.house.letter(view, b"x" * size, *flags)
        (uid,) = view.append(self.folders[side], [new]).uids
        assert uid == self._add(side, frozenset(flags), size)

    @rule(second=SIDES, side=SIDES, to=SIDES, uids=UIDS)
    def messages_are_copied(self, second: bool, side: bool, to: bool, uids: set[int]) -> None:
        done = self._view(second).copy(self.folders[side], uids, self.folders[to])
        there = sorted(uids & self.model[side].keys())
        assert [pair.source for pair in done.pairs] == there
        for old, new in done.pairs:
            assert new == self._add(to, self.model[side][old], self.octets[side, old])

    @rule(second=SIDES, side=SIDES, to=SIDES, uids=UIDS)
    def messages_are_moved(self, second: bool, side: bool, to: bool, uids: set[int]) -> None:
        done = self._view(second).move(self.folders[side], uids, self.folders[to])
        there = sorted(uids & self.model[side].keys())
        assert [pair.source for pair in done.pairs] == there
        for old, new in done.pairs:
            assert new == self._add(to, *self._drop(side, old))

    @rule(second=SIDES, side=SIDES, uids=UIDS)
    def messages_are_expunged(self, second: bool, side: bool, uids: set[int]) -> None:
        done = self._view(second).expunge(self.folders[side], uids)
        assert list(done) == sorted(uids & self.model[side].keys())
        for uid in done:
            self._drop(side, uid)

    @invariant()
    def the_state_never_goes_back(self) -> None:
        with self.database.read() as conn:
            used = used_octets(conn, self.house.a).octets
        assert used == sum(self.octets.values()) + self.waiting * OCTETS
        view = self.views[0]
        for side, folder_id in enumerate(self.folders):
            found, rows = view.folder(folder_id), self.model[side]
            assert found.messages == len(rows)
            assert found.uid_next == self.next_uid[side]
            assert found.unseen == sum(NAMES[0] not in flags for flags in rows.values())
            assert found.octets == sum(self.octets[side, uid] for uid in rows)
            assert {row[0] for row in view.flags(folder_id)} == rows.keys()

    @initialize()
    def both_begin(self) -> None:
        self.mail_comes(2)
        self.a_session_looks(second=False, side=False)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
