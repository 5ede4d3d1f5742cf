"""Facts of a team's work on a message, and its rules. Pure.

An assignment gives a message to one person until a time; afterwards nobody has it, whether or not a
job has removed its row yet. Times are aware; an end is exclusive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mailstore.errors import Conflict, InvalidState

# Keyword that stands for an assignment in IMAP and JMAP; no client sets it as a keyword of its own.
ASSIGNED: Final = "$MSSPrisEnCharge"
# The longest time of an assignment without another take.
LONGEST: Final = timedelta(days=7)


class WorkState(StrEnum):
    """State of the work on a message; a message without a row is OPEN."""

    OPEN = "open"
    TAKEN = "taken"
    WAITING = "waiting"
    CLOSED = "closed"


class End(StrEnum):
    """Cause of the end of an assignment."""

    RELEASED = "released"  # by the person
    FORCED = "forced"  # by a manager
    EXPIRED = "expired"
    DEPARTED = "departed"  # the person's access to the mailbox ended


# A message that waits for somebody outside goes on waiting when the time of its assignment is over;
# once a person gave it back or left, nobody would look at it again.
_AFTER: Final[Mapping[WorkState, WorkState]] = {
    WorkState.TAKEN: WorkState.OPEN,
    WorkState.WAITING: WorkState.OPEN,
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A message and the account that has taken it, from `since` to before `until`."""

    mailbox_id: int
    message_id: str
    account_id: int
    since: datetime
    until: datetime
    modseq: int

    def holds(self, at: datetime) -> bool:
        """True while the person has the message."""
        return at < self.until


@dataclass(frozen=True, slots=True)
class Work:
    """State of a message as of a time; `account_id`: person who set it, None for a job.

    `since` is None, and `modseq` 0, for a message whose state nobody ever set.
    """

    message_id: str
    state: WorkState
    account_id: int | None
    since: datetime | None
    modseq: int


@dataclass(frozen=True, slots=True)
class Note:
    """A note on a message. `text`: None once removed (`removed_at`), and where it cannot be opened.

    `account_id`: its author.
    """

    id: int
    mailbox_id: int
    message_id: str
    account_id: int
    written_at: datetime
    text: str | None
    removed_at: datetime | None
    modseq: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A message and its answer; `account_id`: person who answered, None if nobody knows."""

    mailbox_id: int
    message_id: str
    answer_id: str
    account_id: int | None
    answered_at: datetime
    modseq: int


class AlreadyTaken(Conflict):
    """Another person has the message; `assignment` says which."""

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(f"another person has taken it until {assignment.until.isoformat()}")
        self.assignment = assignment


class NotTaken(InvalidState):
    """Nobody has the message, or its time is over."""


def check_until(now: datetime, until: datetime) -> None:
    """Refuse an end that is past or farther than `LONGEST`. Raises InvalidState."""
    if not now < until <= now + LONGEST:
        raise InvalidState(f"a message is taken for {LONGEST.days} days at most, from now on")


def state_after(state: WorkState, end: End) -> WorkState:
    """State of a message after the end of its assignment."""
    if end is End.EXPIRED and state is WorkState.WAITING:
        return state
    return _AFTER.get(state, state)


def state_at(stored: WorkState, assignment: Assignment | None, at: datetime) -> WorkState:
    """State as of a time: once the assignment's time is over, a message taken is open again."""
    held = assignment is not None and assignment.holds(at)
    return WorkState.OPEN if stored is WorkState.TAKEN and not held else stored
