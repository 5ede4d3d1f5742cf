"""Reasons of skipped tests: the missing program, and the command that installs it."""

import os
import re
import shutil
import subprocess
from functools import cache


def program(name: str, package: str, command: str = "") -> str:
    """Reason: missing program.  `command`: if not `apt-get install`."""
    how = command or f"apt-get install {package}"
    return f"{name} is not here: it needs the package {package}, as root: {how}"


def installed(name: str, command: str) -> str:
    """Reason: missing package that pip installs without root by `command`."""
    return f"{name} is not here: {command} installs it"


def root(purpose: str) -> str:
    """Reason: root is needed; empty if the test runs as root."""
    return "" if os.geteuid() == 0 else f"it needs root: {purpose}; as root: make test"


_BY_ANYBODY = re.compile(r"(\S+) is not here: .* installs it")
_PACKAGES = re.compile(r" is not here: it needs the package ([^,]+), as root: ")


def forgotten(reason: str) -> str:
    """Package that a skipped test misses although `make setup` could have installed it here.

    Empty if the reason names no package, or if this machine cannot install it: no root, no apt, no
    package lists. Otherwise the test counts as failed in CI.
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
    """Whether apt can install the package."""
    if shutil.which("apt-cache") is None:
        return False
    done = subprocess.run(
        ("apt-cache", "show", "--no-all-versions", package),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0
