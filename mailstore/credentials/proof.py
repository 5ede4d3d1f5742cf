"""Outcome of a log-in: a proof of an account, or a refusal. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailstore.errors import MailstoreError


class Method(StrEnum):
    """Kind of the credential by which an account was proved."""

    PASSWORD = "password"  # noqa: S105 - a name
    APP_PASSWORD = "app_password"  # noqa: S105 - a name
    CERTIFICATE = "certificate"
    OIDC = "oidc"
    GRACE = "grace"  # shared password of a team that moves to named accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An account that proved itself at a time.

    `account`: None for the shared password of a team alone (`Method.GRACE`), which nobody's is.
    `factors`: independent factors shown, 1 or 2; of an OIDC identity, as the provider states.
    `credential_id`: the credential whose end ends the session; None for an OIDC identity found by
    its national identifiers. `second_id`: the TOTP or the recovery code. `mailbox_id` and
    `protocols`: the only ones that it opens; None: any that the account may use.
    """

    account: int | None
    factors: int
    method: Method
    credential_id: int | None
    second_id: int | None = None
    mailbox_id: int | None = None
    protocols: frozenset[str] | None = None
    at: datetime


class Refusal(StrEnum):
    """Reason of a refused log-in, for the audit trail; never shown to the client."""

    UNKNOWN = "unknown"  # no such account or credential
    WRONG = "wrong"
    NEEDS_CODE = "needs_code"  # right password, of an account that has TOTP
    THROTTLED = "throttled"
    ACCOUNT_STATE = "account_state"  # suspended or closed
    ENDED = "ended"  # credential revoked or past its end
    OTHER_MAILBOX = "other_mailbox"
    OTHER_PROTOCOL = "other_protocol"
    SWITCHED_OFF = "switched_off"  # app passwords, for this type of mailbox
    ALTERED = "altered"  # the row was changed by another than this program
    AMBIGUOUS = "ambiguous"  # identifiers of several accounts


class LoginRefused(MailstoreError):
    """A refused log-in. The text is the same for each reason, so that a stranger learns nothing.

    `account`: the account concerned if it exists, for the audit trail.
    """

    def __init__(self, reason: Refusal, account: int | None = None) -> None:
        super().__init__(
            "log-in refused: wrong name, password or code (each code works once), or too many "
            "attempts; wait and try again"
        )
        self.reason = reason
        self.account = account
