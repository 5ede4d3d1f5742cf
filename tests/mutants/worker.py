"""A process that runs pytest again and again, each time in a child of its own.

`python -m tests.mutants.worker FOLDER`, with FOLDER as the folder in which it works.  The libraries
are imported once, which takes longer than most of the tests do; product and tests are imported by
each child, as they are at that moment.  Each line on standard input is a JSON object with `words`
for pytest, `variables` of the environment and `output`, the path of a file for all that it prints;
the answer is its exit code, in a line.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import pytest

# Printed by a process of its own: the modules must not be imported here, and no list falls behind.
_LIBRARIES: Final = """
import sys
import pytest
import tests.conftest, tests.unit.relay.conftest
from tests.mutants.model import PACKAGES
ours = {"__main__", "mssante_operator", "tests", *PACKAGES, *sys.stdlib_module_names}
print(*[name for name in sys.modules if name.partition(".")[0] not in ours])
"""


def main() -> None:
    """Serve until standard input ends."""
    done = subprocess.run(
        [sys.executable, "-c", _LIBRARIES], capture_output=True, text=True, check=True
    )
    for name in done.stdout.split():
        with suppress(ImportError):  # parts of a library that it makes itself
            importlib.import_module(name)
    print("ready", flush=True)  # from here on no source is read in this process
    for line in sys.stdin:
        given = json.loads(line)
        print(_in_a_child(given["words"], given["variables"], given["output"]), flush=True)


def _in_a_child(words: Sequence[str], variables: Mapping[str, str], output: str) -> int:
    if threading.active_count() != 1:
        raise RuntimeError(f"a library has started a thread: {threading.enumerate()}")
    child = os.fork()
    if not child:
        code = 3
        try:
            os.setsid()  # whatever it starts is ended with it
            with open(output, "wb", buffering=0) as file:  # noqa: PTH123 - its descriptor is meant
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.environ.update(variables)
            sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in variables
            code = int(pytest.main(list(words)))
        except BaseException:  # the child must never go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, 9)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
