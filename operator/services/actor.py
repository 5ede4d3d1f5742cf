"""Who does what a command or a request asks for: the name that events carry."""

import pwd
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """A person: the name, and the account that it was given under if that is another one."""

    name: str
    account: str = ""


def account_name(environment: Mapping[str, str], uid: int) -> str:
    """The login name behind a process: of who ran sudo, of its user, or the user's number."""
    if environment.get("SUDO_USER"):
        return environment["SUDO_USER"]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
