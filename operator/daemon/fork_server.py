"""The launcher's work: fork a process for each request of the supervisor, and nothing else.

A request is a packet on the launcher's line: the role, and with it the descriptors of a lifeline,
of a pipe for stacks (stack_dump.py) and of the sockets to serve.  What the launcher has imported is
shared by all processes until they write to it (fork(2)), so it must not have begun anything that a
fork does not survive: no thread, no event loop, no connection.  The processes are left to the
supervisor (reaping.py).
"""

import gc
import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from . import control_channel
from .control_channel import Report

MOST_DESCRIPTORS: Final = 253  # SCM_MAX_FD of Linux: what one packet may carry
_MOST_OCTETS: Final = 64  # of a role's name
_MOMENT: Final = 0.0005  # seconds between two looks whether the starter has ended


@dataclass(frozen=True, slots=True)
class Part:
    """What a process is to play: a role, on its end of a lifeline, with listening sockets.

    `stack`: the descriptor of the pipe for its stacks.
    """

    role: str
    line: socket.socket
    stack: int
    sockets: tuple[int, ...]


def ask(
    launcher: socket.socket, role: str, line: socket.socket, stack: int, sockets: tuple[int, ...]
) -> None:
    """Request a process, from the supervisor.  Raises OSError, if the launcher is gone too."""
    socket.send_fds(launcher, [role.encode()], [line.fileno(), stack, *sockets])


def serve(supervisor: socket.socket) -> Part | None:
    """Fork as requested on a blocking line until the supervisor closes it or is gone.

    Returns in each new process, with its part, and at last in the launcher, with None.
    """
    # Collected now, and never looked at again: looking at objects copies their pages.
    gc.collect()
    gc.freeze()
    gc.enable()  # off while the launcher imported (roles/__main__.py)
    while True:
        try:
            role, descriptors, _, _ = socket.recv_fds(supervisor, _MOST_OCTETS, MOST_DESCRIPTORS)
        except ConnectionError:
            return None
        if not role:
            return None
        line = socket.socket(fileno=descriptors[0])
        if _is_forked(line):
            supervisor.close()
            return Part(role.decode(), line, descriptors[1], tuple(descriptors[2:]))
        line.close()
        for number in descriptors[1:]:
            os.close(number)


def _is_forked(line: socket.socket) -> bool:
    """Fork a process that is an orphan; True in that one, False in the launcher."""
    try:
        starter = os.fork()
        if starter:
            os.waitpid(starter, 0)
            return False
    except OSError as error:  # too many processes, no memory
        control_channel.report(line, Report(str(error)))
        return False
    starter = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError as error:
        control_channel.report(line, Report(str(error)))
        os._exit(1)
    while os.getppid() == starter:  # until it is the supervisor's
        time.sleep(_MOMENT)
    control_channel.introduce(line)
    return True
