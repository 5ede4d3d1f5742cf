"""Limits of messages and recipients an hour for a mailbox of ours that sends, by its type. Pure.

A hospital doctor once wrote to 11 000 addresses (DOMAIN U7, 12): a person is stopped, a program
may.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.sent_counts import SentCount


class SendingLimit(NamedTuple):
    """Most messages and recipients an hour; 0 for no limit."""

    messages: int = 0
    recipients: int = 0


SendingLimits = Mapping[MailboxType, SendingLimit]
NO_LIMIT: Final = SendingLimit()


def never_fits(limit: SendingLimit, recipients: int) -> str:
    """Why a message to so many recipients may never go, in no hour; empty if it may."""
    if limit.recipients and recipients > limit.recipients:
        return (
            f"{limit.recipients} recipients an hour are the most of this mailbox, and this message "
            f"has {recipients}"
        )
    return ""


def excess(limit: SendingLimit, sent: SentCount, recipients: int) -> str:
    """Why a mailbox that has sent so much may not send to so many more; empty if it may."""
    if limit.messages and sent.messages >= limit.messages:
        return f"{limit.messages} messages an hour are the most of this mailbox"
    if limit.recipients and sent.recipients + recipients > limit.recipients:
        return (
            f"{limit.recipients} recipients an hour are the most of this mailbox, and "
            f"{sent.recipients} are used"
        )
    return ""
