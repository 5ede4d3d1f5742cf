"""What `ps` and `top` show of a process that was forked, not executed.

Its command line is that of its parent: Linux shows the memory that the arguments were put in, which
may be written over as far as it goes (proc_pid_cmdline(5)).
"""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Final

_ARG_START: Final = 45  # of the fields behind the name in /proc/PID/stat (proc_pid_stat(5))


def retitle(before: str, now: str) -> None:
    """Show one argument, and nothing after it, as another; nothing where Linux does not allow it.

    There is as much room as the arguments take from there on.
    """
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"mssante-{now}", encoding="ascii")
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        begin, end = map(int, fields[_ARG_START : _ARG_START + 2])
        if not begin:  # hidden from us
            return
        place = ctypes.string_at(begin, end - begin).rfind(f"\0{before}\0".encode())
        if place >= 0:
            room = end - begin - (place + 1)
            ctypes.memmove(begin + place + 1, now.encode()[: room - 1].ljust(room, b"\0"), room)
