"""Actor: the person behind a command or a request, as named in events."""

import pwd
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Person who acts.  `account`: login name if it differs from `name`, else empty."""

    name: str
    account: str = ""


def account_name(environment: Mapping[str, str], uid: int) -> str:
    """Login name behind a process: SUDO_USER, else the name of `uid`, else `uid:NUMBER`."""
    if environment.get("SUDO_USER"):
        return environment["SUDO_USER"]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
