"""A person's acts on the team's work, for every door: permitted, done and recorded as one.

Taking, notes and states need the right to act; releasing another person's message, and removing
another person's note, the right to manage. The Unix user, who is no person of the team, may only
release, remove and set states. All raise NotAllowed, NotFound and StoreUnavailable; other errors
are those of `mailstore.teams`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mailstore.accounts.accounts import get_account_by_id
from mailstore.audit.event import Fact, Result
from mailstore.errors import Forbidden, InvalidState
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.rights.facts import load_actor
from mailstore.rights.may import entitled
from mailstore.rights.model import Action, MailboxFacts
from mailstore.teams import assignments, notes, work
from mailstore.teams.model import Assignment, Note, Work, WorkState

from ..assembly.storage import row_seal
from .acts import Act, ActTransaction

USUAL_TIME: Final = timedelta(hours=24)  # for which a message is taken


@dataclass(frozen=True, slots=True)
class _TeamAct:
    """An act in its transaction: the mailbox is locked, and the right to it was asked."""

    act: Act
    change: ActTransaction
    address: str
    mailbox: MailboxFacts
    lock: MailboxLock

    @property
    def person(self) -> int:
        """Account that acts.  Raises Forbidden for the Unix user and for a shared password."""
        if self.act.account_id is None:
            raise Forbidden("only a person with an account may do this: log in with one")
        return self.act.account_id

    def audit(self, event: str, message: str, subject: int | None = None, **facts: Fact) -> None:
        """Add the audit row.  `subject`: account acted on, told unless it is the actor's."""
        other = None if subject in {None, self.act.account_id} else subject
        login = None
        if other is not None:
            login = get_account_by_id(self.change.connection, other).login
        self.change.audit(
            event,
            mailbox=self.address,
            message=message,
            subject=login,
            tenant=self.mailbox.tenant_id,
            result=Result.DONE,
            **facts,
        )


def take_message(
    act: Act, address: str, message_id: str, time: timedelta = USUAL_TIME
) -> Assignment:
    """Take a message for a time, or prolong it.  Raises AlreadyTaken, InvalidState."""
    with _begun(act, address, Action.ACT) as team:
        now = act.clock()
        taken = assignments.take(team.lock, message_id, team.person, now=now, until=now + time)
        team.audit("message.taken", message_id, until=taken.until)
    return taken


def release_message(act: Act, address: str, message_id: str) -> Assignment:
    """Give a message back that the person has taken.  Raises NotTaken, AlreadyTaken."""
    with _begun(act, address, Action.ACT) as team:
        ended = assignments.release(team.lock, message_id, team.person, now=act.clock())
        team.audit("message.released", message_id)
    return ended


def force_release(act: Act, address: str, message_id: str) -> Assignment:
    """Release a message that anybody has taken, as a manager.  Raises NotTaken."""
    with _begun(act, address, Action.MANAGE) as team:
        now, by = act.clock(), act.account_id
        ended = assignments.force_release(team.lock, message_id, now=now, by=by)
        team.audit("message.released", message_id, ended.account_id, forced=True)
    return ended


def hand_over(
    act: Act, address: str, message_id: str, colleague: str, time: timedelta = USUAL_TIME
) -> Assignment:
    """Give a message that the person has taken to a colleague, by log-in name, for a time.

    Raises NotTaken, AlreadyTaken; InvalidState for a colleague without the right to act.
    """
    with _begun(act, address, Action.ACT) as team:
        now = act.clock()
        found = team.change.known_account(colleague)
        facts = load_actor(team.change.connection, found.id, None, team.mailbox.id)
        if not entitled(facts, Action.ACT, team.mailbox, now).allowed:
            raise InvalidState(f"{found.login} may not act on the messages of {address}")
        given = assignments.hand_over(
            team.lock, message_id, team.person, found.id, now=now, until=now + time
        )
        team.audit("message.handed_over", message_id, found.id, until=given.until)
    return given


def set_work_state(act: Act, address: str, message_id: str, state: WorkState) -> Work:
    """Set the state of a message: open, waiting or closed.  Raises InvalidState for taken."""
    with _begun(act, address, Action.ACT) as team:
        made = work.set_state(team.lock, message_id, state, act.account_id, now=act.clock())
        team.audit("message.state_set", message_id, state=state.value)
    return made


def write_note(act: Act, address: str, message_id: str, text: str) -> Note:
    """Add a note to a message.  Raises InvalidNote, InvalidState, KeyMissing."""
    with _begun(act, address, Action.ACT) as team:
        seal = row_seal(act.store)
        now = act.clock()
        made = notes.add_note(team.lock, seal, message_id, team.person, text, now=now)
        team.audit("note.added", message_id, note=made.id)
    return made


def remove_note(act: Act, address: str, note_id: int) -> None:
    """Erase the text of a note: the person's own, or as a manager any."""
    with _begun(act, address, Action.ACT, Action.MANAGE) as team:
        message_id, author = notes.note_author(team.lock, note_id)
        own = author == act.account_id
        team.change.require(Action.ACT if own else Action.MANAGE, team.mailbox, address)
        notes.remove_note(team.lock, note_id, now=act.clock())
        team.audit("note.removed", message_id, author, note=note_id)


@contextmanager
def _begun(act: Act, address: str, *actions: Action) -> Iterator[_TeamAct]:
    with act.write() as change:
        mailbox = change.reach(address, *actions)
        lock = lock_mailbox(change.connection, mailbox.id)
        yield _TeamAct(act, change, address, mailbox, lock)
