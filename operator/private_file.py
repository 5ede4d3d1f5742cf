"""Files that commands write what is in mailboxes to: for their owner alone."""

import os
import stat
import sys
from typing import IO, Any, Final

import click

_OWNER_ALONE: Final = 0o600


class PrivateFile(click.ParamType[IO[bytes]]):
    """A file to write, made or emptied, that nobody but its owner can read; `-` is our output."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[bytes]:
        """Open it; what is there already loses the rights of others before anything is in it."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts defaults a second time
        if value == "-":
            return sys.stdout.buffer
        try:
            file = os.fdopen(_open(value), "wb")
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}", param, ctx)
        if ctx is not None:
            ctx.call_on_close(file.close)
        return file


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(path, flags, _OWNER_ALONE)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) != _OWNER_ALONE:
            os.fchmod(descriptor, _OWNER_ALONE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
