"""What the mailstore refuses or cannot do, each as one exception with a one-line message.

The message may be shown to an administrator: it says what, where and what to do, and never holds
message content. `StoreUnavailable` alone is temporary: the relay answers it with `451 4.3.0`
(RFC 3463 §3.4) and the peer tries again. All others are final for the same input.
"""

# The names are the field's ("conflict", "not found"); an Error suffix would add nothing to them.


class MailstoreError(Exception):
    """The base of everything the mailstore raises on purpose."""


class StoreUnavailable(MailstoreError):
    """The database or the disk is unwell: nothing was promised, try again later.

    One case is open: a connection that dies while PostgreSQL commits leaves it unknown whether
    the transaction took place, and one whose wait for a synchronous standby was cancelled whether
    it lasts. A caller that repeats the work may do it twice, never zero times.
    """


class InvalidDatabaseUrl(MailstoreError):
    """The database URL is of a form or a driver that the mailstore does not take."""


class UnfitDatabase(MailstoreError):
    """The database, or what the role may do in it, does not do for mail; the message says why.

    It stays so until an administrator changes it.
    """


class InvalidAddress(MailstoreError):
    """An address or a domain is not of the form that a mailbox may have."""


class InvalidIdentifier(MailstoreError):
    """A national identifier is malformed, or of a kind that the mailbox type does not take."""


class InvalidState(MailstoreError):
    """A mailbox cannot go from its present state to the one asked for."""


class Conflict(MailstoreError):
    """What was to be added exists already."""


class NotFound(MailstoreError):
    """What was asked for does not exist."""


class StoreRefuses(StoreUnavailable):
    """The store answers, and does not let us: a right is missing, or credentials are wrong."""


class BlobDamaged(StoreUnavailable):
    """A blob is not what was stored: nothing altered of it is given out.

    It can be had again once the file is put back from a backup, so callers may try later.
    """


class KeyMissing(StoreUnavailable):
    """A blob's key is not in the key file; it can be read once the key is put back."""


class InvalidKeys(MailstoreError):
    """The key file is missing, malformed, readable by others, or cannot be written."""
