"""The error tree of the relay: every error that a peer may see carries its own SMTP reply.

Every fault below (mailstore, white list, disk, peer) is turned into one of these errors in exactly
one place.  So code, enhanced code (RFC 3463) and public text always agree, and private detail
stays in the log.
"""

from relay.smtp.failure_reason import FailureReason
from relay.smtp.reply import Reply


class SmtpError(Exception):
    """A command or message that is answered with `reply`; `detail` is for the log only."""

    def __init__(self, reply: Reply, detail: str = "") -> None:
        super().__init__(f"{reply} [{detail}]" if detail else str(reply))
        self.reply = reply
        self.detail = detail


class Disconnected(SmtpError):
    """A refusal after which the connection is closed."""


class SyntaxRefused(SmtpError):
    """A command that does not follow the grammar (RFC 5321 §4.1)."""

    def __init__(self, text: str, *, code: int = 501, enhanced: str = "5.5.4") -> None:
        super().__init__(Reply(code, enhanced, text))


class Refused(SmtpError):
    """A rule said no; `rule` names it and serves as the metric's label."""

    def __init__(self, rule: str, reply: Reply, evidence: str, presented: str = "") -> None:
        super().__init__(reply, evidence)
        self.rule = rule
        self.presented = presented


class StoreDeferred(SmtpError):
    """The message could not be stored: the peer keeps it and tries again.

    `unwell`: the store is likely to fail for other messages too.  If False, the store refuses this
    message alone; still not for good, since a store that was changed may be changed back.
    """

    def __init__(self, detail: str, *, unwell: bool = True) -> None:
        why = "unavailable" if unwell else "refuses this message"
        super().__init__(Reply(451, "4.3.0", f"Mail store {why}, try again later"), detail)
        self.unwell = unwell


class AttemptFailed(Exception):
    """An attempt without any recipient's reply from this host.

    `permanent`: no attempt will ever get a reply.  `ours`: the fault is not the destination's.
    """

    def __init__(
        self, reason: FailureReason, detail: str, *, permanent: bool = False, ours: bool = False
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.permanent = permanent
        self.ours = ours
