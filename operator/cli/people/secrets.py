"""Secrets that a person types: from the terminal, unseen, or a line each of standard input.

Never from the command line, where every user of the machine can read them.
"""

import sys

import click


def read_secret(what: str, *, twice: bool = False) -> str:
    """Read a secret; `twice`: on a terminal it is typed again.  Raises UsageError without one."""
    if sys.stdin.isatty():
        typed: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
        return typed
    # Octets that are not UTF-8 become surrogates, which the rules of passwords refuse.
    line = sys.stdin.buffer.readline().decode("utf-8", "surrogateescape").rstrip("\r\n")
    if not line:
        raise click.UsageError(f"{what}: nothing on standard input; give a line, or use a terminal")
    return line


def read_code(what: str) -> str:
    """Read a one-time code, which may be seen.  Raises UsageError without one."""
    if sys.stdin.isatty():
        typed: str = click.prompt(what, err=True)
        return typed
    return read_secret(what)
