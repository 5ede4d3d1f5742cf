"""Login name of the person behind a command."""

import pwd
from collections.abc import Mapping


def account_name(environment: Mapping[str, str], uid: int) -> str:
    """Login name behind a process: SUDO_USER, else the name of `uid`, else `uid:NUMBER`."""
    if environment.get("SUDO_USER"):
        return environment["SUDO_USER"]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
