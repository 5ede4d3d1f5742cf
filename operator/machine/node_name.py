"""Machine's name: the permanent name of this installation in the leases of the queue."""

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..assembly.clock import make_id
from ..assembly.outside_errors import is_outside
from ..assembly.storage import storage_folder
from ..errors import Outage
from ..settings.model import Settings, SettingsError
from .clock_file import this_boot

_BEFORE: Final = "node.before"  # file: former name, if this installation was a copy


def _path(settings: Settings) -> Path:
    return storage_folder(settings) / "node"


def node_name(settings: Settings) -> str:
    """The name; created at first use.  Raises SettingsError, or Outage if the disk is full."""
    known = known_node_name(settings)
    if known is not None:
        return known
    name = make_id()
    _write(_path(settings), name)
    return name


def new_node_name(settings: Settings, before: str) -> str:
    """Give this installation a new name; `before` is the name of the original machine.

    Raises SettingsError or Outage; the name is then unchanged.
    """
    path = _path(settings)
    _write(path.with_name(_BEFORE), before)
    name = make_id()
    _write(path, name)
    return name


@dataclass(frozen=True, slots=True)
class CopiedMachine:
    """Record that this installation was a copy of machine `before`, found at `at` (UTC)."""

    before: str
    at: datetime


def copied(settings: Settings) -> CopiedMachine | None:
    """The record that this installation was a copy; None without one, or if unreadable."""
    path = _path(settings)
    with suppress(OSError, ValueError):
        file = path.with_name(_BEFORE)
        before = file.read_text(encoding="ascii").strip()
        if before != path.read_text(encoding="ascii").strip():
            return CopiedMachine(before, datetime.fromtimestamp(file.stat().st_mtime, UTC))
    return None


def proof(settings: Settings) -> str:
    """Proof of the name: digest of boot identifier, device and inode of the name's file.

    No copy has it: a copy on another machine has another boot identifier, a copy on this machine
    has another inode.  Unchanged by a crash of the daemon, changed by a reboot.  Raises OSError.
    """
    status = _path(settings).stat()
    # Without a boot identifier there is no proof: the name is then watched at each start.
    boot = this_boot() or secrets.token_hex(16)
    facts = f"{boot} {status.st_dev} {status.st_ino}"
    return hashlib.sha256(facts.encode("ascii")).hexdigest()


def _write(path: Path, name: str) -> None:
    """Write atomically: two machines with the same empty name would free each other's leases."""
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
        kind = Outage if is_outside(error) else SettingsError
        raise kind(
            f"{error.filename or path}: cannot be written: {error.strerror}; "
            "free some space, or remove it"
        ) from error


def known_node_name(settings: Settings) -> str | None:
    """The name; None if it does not exist yet.  Raises SettingsError."""
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
        f"{path}: no valid machine name: {why}; remove it; the daemon makes a new one"
    )
