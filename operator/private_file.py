"""Files that commands write what is in mailboxes to: for their owner alone."""

import io
import os
import stat
import sys
from typing_extensions import Buffer
from typing import IO, Any, Final

import click

_OWNER_ALONE: Final = 0o600


class PrivateWriter(io.BufferedWriter):
    """Writes a file anew; what is in it stays until the first write, be it of nothing.

    The command may still be refused, and an earlier export be the only one.
    """

    _begun = False

    def write(self, data: Buffer) -> int:
        """Write at the end of what is written.  Raises OSError."""
        if not self._begun:
            mode = os.fstat(self.fileno()).st_mode
            if stat.S_ISREG(mode):
                if stat.S_IMODE(mode) != _OWNER_ALONE:
                    os.fchmod(self.fileno(), _OWNER_ALONE)
                os.ftruncate(self.fileno(), 0)
            self._begun = True
        return super().write(data)


class PrivateFile(click.ParamType[IO[bytes]]):
    """A file to write, made where it lacks, for its owner alone; `-` is our output."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[bytes]:
        """Open it; what is there already is emptied, and others lose their rights, at the first write."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts defaults a second time
        if value == "-":
            return sys.stdout.buffer
        try:
            file = PrivateWriter(io.FileIO(_open(value), "wb"))
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}", param, ctx)
        if ctx is not None:
            ctx.call_on_close(file.close)
        return file


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _OWNER_ALONE)
