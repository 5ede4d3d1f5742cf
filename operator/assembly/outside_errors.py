"""Classification of errors: outside, or in this installation (docs/decisions/0056).

Outside errors may pass without a change here: a server that is unreachable or refuses, a disk that
is full or broken, a lack of memory.  All other errors need a change in this installation.
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
        errno.EROFS,  # Linux remounts a damaged file system read-only
        errno.ESTALE,
    }
)
# S3 errors that the site must mend: bucket does not exist, wrong region.
_OWN_S3: Final = ("NoSuchBucket", "storage.s3.region")
# SQLite errors that the site must mend, as primary codes: rights, format, missing file.
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
    """Whether an OSError or a StoreUnavailable is an outside error; False for other errors."""
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
