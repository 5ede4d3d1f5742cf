"""Title of a forked process in `ps` and `top`.

Without exec a process shows the command line of its parent.  Linux reads it from the memory of the
arguments, which may be overwritten within its length (proc_pid_cmdline(5)).
"""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Final

_ARG_START: Final = 45  # index among the fields after the name in /proc/PID/stat (proc_pid_stat(5))


def set_process_title(before: str, now: str) -> None:
    """Show the argument `now` in place of `before` and of all arguments after it.

    `now` is cut to the length of those arguments.  No effect if Linux refuses.
    """
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"mssante-{now}", encoding="ascii")
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        begin, end = map(int, fields[_ARG_START : _ARG_START + 2])
        if not begin:  # hidden by the kernel
            return
        place = ctypes.string_at(begin, end - begin).rfind(f"\0{before}\0".encode())
        if place >= 0:
            room = end - begin - (place + 1)
            ctypes.memmove(begin + place + 1, now.encode()[: room - 1].ljust(room, b"\0"), room)
