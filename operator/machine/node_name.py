"""The lasting name of this installation in the leases of the queue."""

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..assembly import runtime
from ..assembly.outside_errors import is_outside
from ..errors import Away
from ..settings.model import Settings, SettingsError
from .clock_file import this_boot

_BEFORE: Final = "node.before"  # the name that this installation had as a copy, if it was one


def _path(settings: Settings) -> Path:
    return runtime.storage_folder(settings) / "node"


def node_name(settings: Settings) -> str:
    """The name, made at first use.  Raises SettingsError, and Away where the disk is full."""
    known = known_node_name(settings)
    if known is not None:
        return known
    name = runtime.make_id()
    _write(_path(settings), name)
    return name


def new_node_name(settings: Settings, before: str) -> str:
    """Give this installation another name: `before` is that of the one it is a copy of.

    Raises SettingsError, with nothing changed.
    """
    path = _path(settings)
    _write(path.with_name(_BEFORE), before)
    name = runtime.make_id()
    _write(path, name)
    return name


@dataclass(frozen=True, slots=True)
class Copied:
    """That this installation was a copy of the one named `before`, found out at `at`."""

    before: str
    at: datetime


def copied(settings: Settings) -> Copied | None:
    """Whether it was found out to be a copy; None also where that cannot be read."""
    path = _path(settings)
    with suppress(OSError, ValueError):
        file = path.with_name(_BEFORE)
        before = file.read_text(encoding="ascii").strip()
        if before != path.read_text(encoding="ascii").strip():
            return Copied(before, datetime.fromtimestamp(file.stat().st_mtime, UTC))
    return None


def proof(settings: Settings) -> str:
    """The proof that no copy has while this installation lives: where its file is, in this boot.

    A copy on another machine is in another start (boot_id), one beside it is another file.  The
    same after a crash of the daemon; another one after a restart of the machine.
    """
    status = _path(settings).stat()
    # A system that does not tell its starts apart proves nothing: the name is watched each time.
    boot = this_boot() or secrets.token_hex(16)
    facts = f"{boot} {status.st_dev} {status.st_ino}"
    return hashlib.sha256(facts.encode("ascii")).hexdigest()


def _write(path: Path, name: str) -> None:
    """Whole or absent: two nodes of one empty name would free each other's leases."""
    draft = path.with_suffix(".tmp")
    try:
        with draft.open("w", encoding="ascii") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        kind = Away if is_outside(error) else SettingsError
        raise kind(
            f"{error.filename or path}: cannot be written: {error.strerror}; "
            "make room, or remove it"
        ) from error


def known_node_name(settings: Settings) -> str | None:
    """The name, None where it is yet to be made.  Raises SettingsError."""
    path = _path(settings)
    try:
        name = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror
    except ValueError:
        why = "it is not ASCII"
    else:
        if name:
            return name
        why = "it is empty"
    raise SettingsError(
        f"{path}: has no name of this node: {why}; remove it, and the daemon makes it anew"
    )
