"""The lasting name of this installation in the leases of the queue."""

import os
from pathlib import Path

from . import runtime
from .settings import Settings, SettingsError


def _path(settings: Settings) -> Path:
    return runtime.storage_folder(settings) / "node"


def node_name(settings: Settings) -> str:
    """The name, made at first use.  Raises SettingsError."""
    path = _path(settings)
    known = known_node_name(settings)
    if known is not None:
        return known
    # Whole or absent: two nodes of one empty name would free each other's leases.
    draft = path.with_suffix(".tmp")
    try:
        with draft.open("w", encoding="ascii") as file:
            file.write(name := runtime.make_id())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or path}: cannot be written: {error.strerror}; "
            "make room, or remove it"
        ) from error
    return name


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
