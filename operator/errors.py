"""Why a command cannot do what it was told, in one line that says what to do."""


class OperatorError(Exception):
    """The root of this package's errors; `mssante` prints the message and ends with 1."""
