"""Events of the audit trail, as their callers make them. Pure.

An event names an act of an identified actor: a person, a program or an administrator (DOMAIN §1.4,
§9.59). It never has content of a message, a secret or a patient's identifier.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

Fact = str | int | bool | datetime | None

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_EVENT_LENGTH: Final = 64
_MESSAGE: Final = re.compile(r"[0-9a-f]{32}")


class Result(StrEnum):
    """Outcome of an act."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Door(StrEnum):
    """Way by which an actor came; `JOB` is work that the daemon does by itself."""

    COMMAND = "command"
    IMAP = "imap"
    SUBMISSION = "submission"
    WEB = "web"
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditActor:
    """Actor. `account`: login that proved itself; `unix_user`: user behind a command.

    `origin`: address of a client.
    """

    account: str | None
    unix_user: str | None
    door: Door
    origin: str | None = None


JOB_ACTOR: Final = AuditActor(account=None, unix_user=None, door=Door.JOB)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """An act. `event`: `noun.verb_past`; `tenant`: id, None for the whole operator.

    `mailbox`: address, kept in lower case, since a spelling that was typed would hide the act from
    a search; `message`: its 32 hexadecimal digits; `subject`: login of an account acted on.
    ValueError for a malformed event, an event's message, or a naive time.
    """

    at: datetime
    event: str
    actor: AuditActor
    result: Result = Result.DONE
    tenant: int | None = None
    mailbox: str | None = None
    message: str | None = None
    subject: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if len(self.event) > _EVENT_LENGTH or not _EVENT.fullmatch(self.event):
            raise ValueError(f"{self.event!r} is no name of an event: noun.verb_past")
        if self.message is not None and not _MESSAGE.fullmatch(self.message):
            raise ValueError(f"{self.message!r} is no identifier of a message")
        for at in (self.at, *(one for one in self.facts.values() if isinstance(one, datetime))):
            if at.tzinfo is None:
                raise ValueError(f"a time with its zone is needed, not the naive {at.isoformat()}")
        if self.mailbox is not None:
            folded = unicodedata.normalize("NFC", self.mailbox).lower()
            object.__setattr__(self, "mailbox", folded)
