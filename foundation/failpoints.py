"""Named steps of mail on its way in and on its way out, at which a test has the process killed.

Crash safety is a matter of what is between two steps (docs/durability.md): a kill must be able to
fall on each.  Unless the environment variable MSSANTE_CRASH_AT is set as the process starts,
`reached` is a function that does nothing.  Its form is `[daemon@|stop@|hang@]STEP[:N]`: every N-th
time (every time, where it is left out) that this process reaches the step, SIGKILL is sent to it,
or with `daemon@` to its whole process group, which is the supervisor's; with `stop@` it is SIGSTOP
to itself, so that a test can kill something else at this step, and let it go on; with `hang@` no
signal is sent, and the thread never returns from the step.
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
    "draft.spilled",  # some of a large body is in its temporary file, in the middle of DATA
    "message.whole",  # the end of DATA is here, and all of the body in its draft
    "message.judged",  # admitted, and its draft the intake's
    "blobs.sealing",  # the group is made, and nothing of it written on purpose
    "blobs.written",  # its drafts are in their temporary files
    "blobs.synced",  # and on disk
    "blobs.placing",  # one more of them has its name
    "blobs.placed",  # all of them have
    "blobs.anchored",  # and the directories are on disk
    "rows.begun",  # the transaction has begun
    "rows.inserted",  # all rows are inserted
    "rows.committed",  # and committed
    "answer.due",  # the session is about to write its answer
    "answer.written",  # and has given it to the transport
)

# On the way out, for one delivery in this order.
DELIVERY_STEPS: Final = (
    "delivery.claimed",  # its lease is committed, and the attempt about to begin
    "delivery.secured",  # a connection is made and under TLS, the peer not judged
    "delivery.greeted",  # the peer is judged, and has answered EHLO
    "delivery.mail",  # it has answered MAIL
    "delivery.rcpt",  # and taken a recipient
    "delivery.data",  # and is ready for the message
    "delivery.half",  # one more piece of the message is sent or about to be
    "delivery.sent",  # the end of the message is sent
    "delivery.answered",  # and the peer's answer to it read
    "delivery.settling",  # the transaction has begun that records outcomes and takes leases
    "delivery.reported",  # a report to a sender is inserted
    "delivery.settled",  # all rows are written
    "delivery.committed",  # and committed
)
_KNOWN: Final = frozenset((*STEPS, *DELIVERY_STEPS))

_FORM: Final = re.compile(
    r"(?P<form>daemon@|stop@|hang@)?(?P<step>[a-z.]+)(?::(?P<count>[1-9][0-9]*))?"
)


def _nothing(_step: str, /) -> None:
    """Go on."""


def armed(environment: Mapping[str, str]) -> Callable[[str], None]:
    """What `reached` is to be in a process with this environment.  Raises ValueError."""
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
                _strike(form)

    return reached


def _strike(form: str | None) -> None:
    if form == "daemon@":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif form == "hang@":
        _hang()
    else:
        os.kill(os.getpid(), signal.SIGSTOP if form else signal.SIGKILL)


def _hang() -> None:
    while True:
        time.sleep(_HOUR)


reached: Final = armed(os.environ)
