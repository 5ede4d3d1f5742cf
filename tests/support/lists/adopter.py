"""Child process for the tests of the archive: adopts lists until it is done or killed.

- `python -m tests.support.lists.adopter for-ever FOLDER FIRST` adopts list FIRST, the next, and so
  on, and prints each number once its list is in force durably.
- `race FOLDER FIRST` prints a line when ready, waits for a line, adopts every other of forty lists,
  and prints the number of lists that were too old.
- `each-line FOLDER` adopts list 2 over list 1, in a new folder for each executed line of the
  archive's code, killed at that line; it prints the number of lines.
"""

import os
import shutil
import signal
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from foundation import atomic_files
from tests.support.lists.hierarchy import NOW
from tests.support.lists.lists import made
from whitelist.errors import ListRefused
from whitelist.national import archive as history
from whitelist.national.archive import Archive, ListSource
from whitelist.national.lookup import WhiteList


def numbered(number: int, size: int = 300_000) -> tuple[bytes, WhiteList]:
    """Give a list like no other, newer than all of lower numbers, so large that writing it lasts"""
    generated_at = NOW + timedelta(seconds=number)
    return made([(f"d{number}.fr", f"CN=s{number}.fr,C=FR")], generated_at, "x" * size)


def adopt(archive: Archive, number: int, size: int = 300_000) -> bool:
    """Adopt a numbered list, at its time of generation."""
    data, white_list = numbered(number, size)
    return archive.adopt(
        data, white_list, white_list.generated_at, ListSource.URL, accepted_shrink=False
    )


def adopt_for_ever(archive: Archive, first: int) -> None:
    for number in count(first):
        adopt(archive, number)
        print(number, flush=True)


def race(archive: Archive, first: int) -> None:
    lists = [numbered(number, 1000) for number in range(first, first + 40, 2)]
    print("ready", flush=True)
    sys.stdin.readline()
    refused = 0
    for data, white_list in lists:
        try:
            archive.adopt(
                data, white_list, white_list.generated_at, ListSource.URL, accepted_shrink=False
            )
        except ListRefused:
            refused += 1
    print(refused, flush=True)


def kill_at_line(wanted: int) -> None:
    """End this process abruptly at this line of the archive's code."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename not in (history.__file__, atomic_files.__file__):
            return None
        if event == "line":
            passed += 1
            if passed == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def adopt_killed_at_each_line(root: Path) -> None:
    adopt(Archive(root / "0"), 1, 100)
    for line in count(1):
        archive = Archive(shutil.copytree(root / "0", root / str(line)))
        child = os.fork()
        if not child:
            kill_at_line(line)
            adopt(archive, 2, 100)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            print(line, flush=True)
            return


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    if sys.argv[1] == "for-ever":
        adopt_for_ever(Archive(folder), int(sys.argv[3]))
    elif sys.argv[1] == "race":
        race(Archive(folder), int(sys.argv[3]))
    else:
        adopt_killed_at_each_line(folder)
