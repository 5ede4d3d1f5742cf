"""Fork server (the launcher): forks a process for each request of the supervisor.

A request is one packet on the launcher's socket: the role, with the descriptors of a control
channel, of a pipe for stacks (stack_dump.py) and of the listening sockets.  Imported code is
shared copy-on-write with all processes (fork(2)).  So the launcher must have nothing that does not
survive a fork: no thread, no event loop, no connection.  The supervisor reaps the processes
(subreaper.py).
"""

import gc
import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from . import control_channel
from .control_channel import ProcessReport

MAX_DESCRIPTORS: Final = 253  # limit of one packet: SCM_MAX_FD of Linux
_MAX_OCTETS: Final = 64  # limit of a role's name
_MOMENT: Final = 0.0005  # seconds between two checks whether the intermediate process has exited


@dataclass(frozen=True, slots=True)
class ForkedRole:
    """Part of a new process: role, its end of the control channel, listening sockets.

    `stack`: descriptor of the pipe for its stacks.
    """

    role: str
    line: socket.socket
    stack: int
    sockets: tuple[int, ...]


def request_fork(
    launcher: socket.socket, role: str, line: socket.socket, stack: int, sockets: tuple[int, ...]
) -> None:
    """Supervisor: request a process.  Raises OSError, also if the launcher is gone."""
    socket.send_fds(launcher, [role.encode()], [line.fileno(), stack, *sockets])


def serve(supervisor: socket.socket) -> ForkedRole | None:
    """Fork for each request on a blocking socket, until EOF.

    Returns in each new process, with its part, and at EOF in the launcher, with None.
    """
    # Frozen objects are not visited by the garbage collector: a visit copies their pages.
    gc.collect()
    gc.freeze()
    gc.enable()  # off while the launcher imported (roles/__main__.py)
    while True:
        try:
            role, descriptors, _, _ = socket.recv_fds(supervisor, _MAX_OCTETS, MAX_DESCRIPTORS)
        except ConnectionError:
            return None
        if not role:
            return None
        line = socket.socket(fileno=descriptors[0])
        if _is_forked(line):
            supervisor.close()
            return ForkedRole(role.decode(), line, descriptors[1], tuple(descriptors[2:]))
        line.close()
        for number in descriptors[1:]:
            os.close(number)


def _is_forked(line: socket.socket) -> bool:
    """Fork twice, so that the process is an orphan.  True in the process, False in the launcher."""
    try:
        starter = os.fork()
        if starter:
            os.waitpid(starter, 0)
            return False
    except OSError as error:  # too many processes, no memory
        control_channel.send_report(line, ProcessReport(str(error)))
        return False
    starter = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError as error:
        control_channel.send_report(line, ProcessReport(str(error)))
        os._exit(1)
    while os.getppid() == starter:  # until the kernel has made it a child of the supervisor
        time.sleep(_MOMENT)
    control_channel.send_pid(line)
    return True
