"""Errors of this package; each message is one line and says what to do."""


class OperatorError(Exception):
    """Base class. `mssante` prints the message and exits with code 1."""


class Outage(OperatorError):
    """Outside cause, such as an unreachable database or a full disk; a retry may succeed."""
