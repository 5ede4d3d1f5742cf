"""Why a test is skipped: what is lacking, and what root runs so that it is there."""

import os


def program(name: str, package: str, command: str = "") -> str:
    """For a program that is not here; `command` where `apt-get install` is not the way."""
    how = command or f"apt-get install {package}"
    return f"{name} is not here: it needs the package {package}, as root: {how}"


def root(purpose: str) -> str:
    """For what only root can do; empty if the test runs as root."""
    return "" if os.geteuid() == 0 else f"it needs root: {purpose}; as root: make test"
