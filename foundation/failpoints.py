"""Failpoints: named steps of inbound and outbound mail at which a test kills the process.

Crash safety depends on the state between two steps (docs/durability.md), so a kill must be possible
at each step. `failpoint` does nothing unless the environment variable MSSANTE_CRASH_AT is set when
the process starts. Its form is `[daemon@|stop@|hang@]STEP[:N]`; the strike falls every N-th time
that this process reaches STEP (default: every time):

- no prefix: SIGKILL to this process;
- `daemon@`: SIGKILL to its process group, which is the supervisor's;
- `stop@`: SIGSTOP to this process, so that a test can kill something else and let it continue;
- `hang@`: no signal; the thread never returns from the step.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

VARIABLE: Final = "MSSANTE_CRASH_AT"
_HOUR: Final = 3600.0  # seconds

STEPS: Final = (
    "draft.spilled",  # a part of a large body is in its temporary file, in the middle of DATA
    "message.whole",  # the end of DATA is here; the whole body is in its draft
    "message.judged",  # the message is admitted; group commit owns its draft
    "blobs.sealing",  # the group is formed; nothing of it is written yet
    "blobs.written",  # the group's drafts are in their temporary files
    "blobs.synced",  # the drafts are synced
    "blobs.placing",  # the next blob of the group has its name
    "blobs.placed",  # all blobs have their names
    "blobs.anchored",  # the directories are synced
    "rows.begun",  # the transaction has begun
    "rows.inserted",  # all rows are inserted
    "rows.committed",  # the transaction is committed
    "answer.due",  # the session is about to write its reply
    "answer.written",  # the transport has the reply
)

# Outbound, in the order of one delivery.
DELIVERY_STEPS: Final = (
    "delivery.claimed",  # the lease is committed, the attempt about to begin
    "delivery.secured",  # the connection is under TLS, the peer not yet judged
    "delivery.greeted",  # the peer is accepted and has answered EHLO
    "delivery.mail",  # the peer has answered MAIL
    "delivery.rcpt",  # the peer has accepted a recipient
    "delivery.data",  # the peer is ready for the message
    "delivery.half",  # the next piece of the message is sent or about to be
    "delivery.sent",  # the end of the message is sent
    "delivery.answered",  # the peer's final reply is read
    "delivery.settling",  # the transaction for results and leases has begun
    "delivery.reported",  # a report to a sender is inserted
    "delivery.settled",  # all rows are written
    "delivery.committed",  # the transaction is committed
)

# A notice of the operator into a mailbox, by a job of maintenance.
NOTICE_STEPS: Final = (
    "notice.prepared",  # its body is durable; nothing refers to it yet
    "notice.inserted",  # its rows are inserted
    "notice.committed",  # the transaction is committed
)

# A team's work on a message.
TEAM_STEPS: Final = (
    "assignment.written",  # the person has the message; its state still says that nobody has
)
# Sealing of rows anew, by a job of maintenance and by the rotation of keys.
SEALING_STEPS: Final = (
    "sealing.page",  # the rows of a page are replaced, not yet committed
    "sealing.kept",  # the page is committed
)
# Changes of a mailbox's folders, each in a transaction.
FOLDER_STEPS: Final = (
    "folders.placed",  # new mail has its UIDs
    "folders.appended",  # rows of an appended message are inserted
    "folders.copied",  # rows of copies are inserted
    "folders.moved",  # rows of moved messages are in their new folder
    "folders.expunged",  # rows of expunged messages are deleted
    "folders.committed",  # the transaction is committed
)

# Summaries and search blocks, by the job of maintenance or by a reader.
SUMMARY_STEPS: Final = (
    "summaries.sealed",  # summaries of a batch are read and sealed; no row yet
    "summaries.inserted",  # their rows are inserted
    "summaries.committed",  # the transaction is committed
    "block.sealed",  # a search block is sealed; its row is not written
    "block.inserted",  # its row is written
    "block.committed",  # the transaction is committed
    "summaries.resealed",  # a page of summaries is sealed anew, not committed
    "names.resealed",  # a page of names of folders or keywords is sealed anew, not committed
)
EVERY_STEP: Final = (
    *STEPS,
    *DELIVERY_STEPS,
    *NOTICE_STEPS,
    *TEAM_STEPS,
    *SEALING_STEPS,
    *FOLDER_STEPS,
    *SUMMARY_STEPS,
)
_KNOWN: Final = frozenset(EVERY_STEP)

_FORM: Final = re.compile(
    r"(?P<form>daemon@|stop@|hang@)?(?P<step>[a-z.]+)(?::(?P<count>[1-9][0-9]*))?"
)


def _nothing(_step: str, /) -> None:
    """Do nothing."""


def armed(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return the function `failpoint` for a process with this environment. Raises ValueError."""
    wanted = environment.get(VARIABLE)
    if not wanted:
        return _nothing
    found = _FORM.fullmatch(wanted)
    if found is None or found["step"] not in _KNOWN:
        raise ValueError(
            f"{VARIABLE}={wanted}: expected [daemon@|stop@|hang@]STEP[:N] "
            f"with one of {sorted(_KNOWN)}"
        )
    step, times, form = found["step"], int(found["count"] or 1), found["form"]
    left = times

    def reached(name: str, /) -> None:
        nonlocal left
        if name not in _KNOWN:
            raise ValueError(f"{name} is not a step")
        if name == step:
            left -= 1
            if not left:
                left = times
                _crash(form)

    return reached


def _crash(form: str | None) -> None:
    if form == "daemon@":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif form == "hang@":
        _hang()
    else:
        os.kill(os.getpid(), signal.SIGSTOP if form else signal.SIGKILL)


def _hang() -> None:
    while True:
        time.sleep(_HOUR)


failpoint: Final = armed(os.environ)
