"""Errors of the mailstore, each with a message of a line.

Messages may be shown to an administrator: they say what, where and what to do, and never contain
message content. Only `StoreUnavailable` and its subclasses are temporary: the relay answers `451
4.3.0` (RFC 3463 §3.4) and the peer tries again. All others are final for the same input.
"""

# The names are the field's ("conflict", "not found"); an Error suffix would add nothing.


class MailstoreError(Exception):
    """Base class of the mailstore's errors."""


class StoreUnavailable(MailstoreError):
    """The database or the disk is faulty: nothing was promised, try again later.

    The outcome is unknown in two cases: a connection that breaks while PostgreSQL commits, and a
    commit whose wait for a synchronous standby was cancelled. A caller that repeats the work may do
    it twice, never zero times.
    """


class InvalidDatabaseUrl(MailstoreError):
    """A database URL of a form or a driver that the mailstore does not support."""


class UnfitDatabase(MailstoreError):
    """The database, or the role's rights in it, are unfit for mail; the message says why.

    An administrator has to change that.
    """


class InvalidAddress(MailstoreError):
    """An address or a domain that a mailbox may not have."""


class InvalidIdentifier(MailstoreError):
    """A national identifier that is malformed, or not allowed for the mailbox type."""


class InvalidAttribute(MailstoreError):
    """An attribute that a mailbox of its type has not, or a value that it cannot have."""


class InvalidName(MailstoreError):
    """A log-in name, or a name of a person, program, group or tenant, that is malformed."""


class InvalidCredential(MailstoreError):
    """A credential that cannot be given: a weak password, an end in the past, a wrong code."""


class InvalidNote(MailstoreError):
    """A note on a message that is empty, too long, or has control characters."""


class InvalidState(MailstoreError):
    """A change of the state of a mailbox or an account that is not allowed."""


class Forbidden(InvalidState):
    """A change that a rule on rights forbids, whoever asks; the refusal is in the audit trail."""


class CredentialForbidden(InvalidCredential, Forbidden):
    """A credential that a rule on rights forbids, whoever asks."""


class Conflict(MailstoreError):
    """The object to add exists already."""


class NotFound(MailstoreError):
    """The requested object does not exist."""


class StoreRefuses(StoreUnavailable):
    """The store answers with a refusal: a right is missing, or credentials are wrong."""


class BlobDamaged(StoreUnavailable):
    """A blob differs from its stored content; no altered octet is returned.

    A file restored from a backup can be read again, so callers may try later.
    """


class SealBroken(MailstoreError):
    """A sealed value of a row was altered or moved by another than this program."""


class KeyMissing(StoreUnavailable):
    """A blob's key is not in the key file; the blob can be read once the key is restored."""


class InvalidKeys(MailstoreError):
    """The key file is missing, malformed, readable by others, or cannot be written."""


class LimitReached(MailstoreError):
    """A folder or a keyword more than a mailbox can have."""


class OverQuota(MailstoreError):
    """A message that a mailbox or its domain has no room for."""
