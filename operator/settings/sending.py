"""Table [sending]: limits of messages and recipients an hour for our own mailboxes, by type."""

from typing import TYPE_CHECKING

from pydantic import Field

from mailstore.mailboxes.identifiers import MailboxType
from relay.policy.sending_limits import SendingLimit, SendingLimits

from .base import Amount, Section

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_MESSAGES = "Most messages an hour of one mailbox; 0: no limit."
_RECIPIENTS = "Most recipients an hour of one mailbox; 0: no limit."


class TypeSending(Section):
    """Limits of the mailboxes of one type."""

    messages: Amount
    recipients: Amount


class PerSending(TypeSending):
    """Mailboxes of persons."""

    messages: Amount = Field(200, description=_MESSAGES)
    recipients: Amount = Field(500, description=_RECIPIENTS)


class OrgSending(TypeSending):
    """Mailboxes of organisations."""

    messages: Amount = Field(1000, description=_MESSAGES)
    recipients: Amount = Field(2000, description=_RECIPIENTS)


class CabSending(TypeSending):
    """Mailboxes that a practice shares."""

    messages: Amount = Field(400, description=_MESSAGES)
    recipients: Amount = Field(1000, description=_RECIPIENTS)


class AppSending(TypeSending):
    """Mailboxes of programs."""

    messages: Amount = Field(0, description=_MESSAGES)
    recipients: Amount = Field(0, description=_RECIPIENTS)


class SendingSection(Section):
    """Limits of mailboxes here that send: beyond, 452 until the next hour, and an alarm."""

    per: PerSending = Field(default_factory=PerSending)
    org: OrgSending = Field(default_factory=OrgSending)
    cab: CabSending = Field(default_factory=CabSending)
    app: AppSending = Field(default_factory=AppSending)


def sending_limits(settings: "Settings") -> SendingLimits:
    """Limits by type of the sending mailbox."""
    given: dict[MailboxType, TypeSending] = {
        MailboxType.PER: settings.sending.per,
        MailboxType.ORG: settings.sending.org,
        MailboxType.CAB: settings.sending.cab,
        MailboxType.APP: settings.sending.app,
    }
    return {kind: SendingLimit(one.messages, one.recipients) for kind, one in given.items()}
