"""Tells what is wrong outside from what is wrong here (docs/decisions/0056).

Outside is whatever may mend without a change of ours: another server that is away or refuses, a
disk that is full or unwell, a system short of memory.  All else is wrong in itself.
"""

import errno
import sqlite3
from typing import Final

from mailstore.errors import StoreUnavailable

_ERRNOS: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EROFS,  # how Linux mounts a file system anew that is damaged
        errno.ESTALE,
    }
)
# Of S3: its code for a bucket that is none, and what we say of a region: both are for us to set.
_OWN_S3: Final = ("NoSuchBucket", "storage.s3.region")
# Of a file of SQLite, primary codes: its rights, its form, that it is not there.
_OWN_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)


def is_outside(error: BaseException) -> bool:
    """Whether an error of the system, or of the mailstore, is about something outside."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    if not isinstance(error, StoreUnavailable):
        return False
    if any(one in str(error) for one in _OWN_S3):
        return False
    if isinstance(error.__cause__, OSError):
        return is_outside(error.__cause__)
    code = getattr(getattr(error.__cause__, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF not in _OWN_SQLITE
