"""Errors of this package; each message is one line and says what to do."""


class OperatorError(Exception):
    """Base class. `mssante` prints the message and exits with code 1."""


class Away(OperatorError):
    """An outside service, such as the database, is unreachable for now; a retry may succeed."""
