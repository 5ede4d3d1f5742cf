"""Why a command cannot do what it was told, in one line that says what to do."""


class OperatorError(Exception):
    """The root of this package's errors; `mssante` prints the message and ends with 1."""


class Away(OperatorError):
    """Something outside that is needed is away, such as the database: it may soon be back."""
