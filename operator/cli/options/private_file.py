"""Output files of commands for content of mailboxes: readable by their owner only."""

import io
import os
import stat
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_OWNER_ALONE: Final = 0o600


class PrivateWriter(io.RawIOBase):
    """File that is emptied at the first write, even an empty write, not when it is opened.

    The command may still be refused, and the file may hold the only earlier export.
    """

    _descriptor = -1
    _file: IO[bytes] | None = None

    def __init__(self, path: str) -> None:
        """Open the file; create it if missing.  Raises OSError."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _OWNER_ALONE)

    def writable(self) -> bool:
        """Always True."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all octets; returns their number.  Raises OSError."""
        if self._file is None:
            self._empty()
            self._file = os.fdopen(self._descriptor, "wb", closefd=False)
        return self._file.write(data)

    def _empty(self) -> None:
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISREG(mode):
            if stat.S_IMODE(mode) != _OWNER_ALONE:  # changed before any mail is written
                os.fchmod(self._descriptor, _OWNER_ALONE)
            os.ftruncate(self._descriptor, 0)

    def flush(self) -> None:
        """Flush to the system.  Raises OSError."""
        if self._file is not None and not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Close the file.  Raises OSError."""
        if self.closed:
            return
        try:
            if self._file is not None:
                self._file.close()
        finally:
            super().close()
            if self._descriptor >= 0:
                os.close(self._descriptor)


class PrivateFile(click.ParamType[IO[bytes]]):
    """Option type: file to write, created with mode 0600; `-` is standard output."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[bytes]:
        """Open the file; its content stays until the first write."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts defaults a second time
        if value == "-":
            return sys.stdout.buffer
        try:
            file = PrivateWriter(value)
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}", param, ctx)
        if ctx is not None:
            ctx.call_on_close(file.close)
        return file  # type: ignore[return-value]  # typeshed: a RawIOBase has no methods of IO
