"""Why a test is skipped: what is lacking, and what root runs so that it is there."""

import os
import re
import shutil
import subprocess
from functools import cache


def program(name: str, package: str, command: str = "") -> str:
    """For a program that is not here; `command` where `apt-get install` is not the way."""
    how = command or f"apt-get install {package}"
    return f"{name} is not here: it needs the package {package}, as root: {how}"


def installed(name: str, command: str) -> str:
    """For what pip installs, without root; `command` does it."""
    return f"{name} is not here: {command} installs it"


def root(purpose: str) -> str:
    """For what only root can do; empty if the test runs as root."""
    return "" if os.geteuid() == 0 else f"it needs root: {purpose}; as root: make test"


_BY_ANYBODY = re.compile(r"(\S+) is not here: .* installs it")
_PACKAGES = re.compile(r" is not here: it needs the package ([^,]+), as root: ")


def forgotten(reason: str) -> str:
    """What a skipped test lacks although `make setup` could have installed it here.

    Empty if the reason names no package, or this machine cannot install it: no root, no apt, no
    package lists. If not, the test counts as failed in CI.
    """
    if by_anybody := _BY_ANYBODY.search(reason):
        return by_anybody[1]
    named = _PACKAGES.search(reason)
    if not named or os.geteuid() != 0:
        return ""
    words = re.findall(r"[a-z0-9][a-z0-9.+-]+", named[1])
    return " ".join(word for word in words if _offered(word))


@cache
def _offered(package: str) -> bool:
    """Whether apt has a version of the package to install."""
    if shutil.which("apt-cache") is None:
        return False
    done = subprocess.run(
        ("apt-cache", "show", "--no-all-versions", package),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0
