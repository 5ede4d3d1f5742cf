"""The lookup of recipients in the mailstore, for the session and for local submission.

An open mailbox is cached, so that a busy session does not ask the database for each message.  Cache
entries stay valid for `CACHE_SECONDS` seconds after the mailstore's change number was last seen
unchanged, so a suspended or closed mailbox may accept mail for that long.  A refusal is never
cached.  Sessions that ask at the same time are answered by one query.

Mail for postmaster at one of our domains, or without a domain (RFC 5321 §4.5.1), goes to the
mailbox that the configuration names, unless the domain has a mailbox `postmaster`.

A mailbox with a quota is full when it holds that many octets, or would with a message of the
declared size (RFC 1870 §6.1), and so are all mailboxes of a domain that holds its own quota.
Nothing is reserved: messages that arrive at the same time, or without a declared size, may all
pass, and a mailbox may exceed its quota by their sizes; a domain also by what reached it within
the last two seconds (`mailstore.mail.domain_usage`).

An alias receives for its mailbox until it ends; an alias whose end is near is not cached.  A
deleted mailbox is unknown.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mail.domain_usage import DomainUsage
from mailstore.mail.quota import domain_limits
from mailstore.mailboxes.changes import change_number
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import is_local_domain, local_domains
from mailstore.mailboxes.recipients import StoredRecipient, any_closed, find_recipients
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.mailboxes.usage import Usage, used_octets
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SmtpError, StoreDeferred
from relay.smtp.reply import Reply

CACHE_SECONDS: Final = 1.0  # seconds
DOMAINS_CACHE_SECONDS: Final = 10.0  # seconds; a domain is added once in months
CACHE_AGE_LIMIT: Final = (
    60.0  # seconds: life of the cache, even if the change number stays the same
)
MAX_CACHED: Final = 20_000  # addresses in the cache
_BATCH: Final = 200  # addresses looked up by one query
_NEAR: Final = timedelta(seconds=CACHE_AGE_LIMIT + 1)  # an end that the cache could miss

_STATUS: Final = {
    MailboxState.ACTIVE: RecipientStatus.ACTIVE,
    MailboxState.SUSPENDED: RecipientStatus.SUSPENDED,
    MailboxState.CLOSED: RecipientStatus.CLOSED,
}

_CLOSED_MEANWHILE: Final = Reply(
    451, "4.2.1", "A recipient's mailbox was closed meanwhile, try again"
)


class ClosedMeanwhile(SmtpError):
    """A mailbox accepted as a recipient was closed or deleted before the message was whole."""


_Question = tuple[SmtpAddress, int | None]


@dataclass(frozen=True, slots=True)
class FoundRecipient:
    """State of an address here; id and type of its mailbox, if any.

    `bounded`: the answer may change by itself, by a quota or the end of an alias, so it is not
    cached.  `reports_only`: the mailbox takes DSN and MDN, and no other mail.
    """

    state: RecipientStatus
    mailbox_id: int | None = None
    bounded: bool = False
    type: MailboxType | None = None
    reports_only: bool = False


@dataclass(frozen=True, slots=True)
class _CachedAnswers:
    number: int
    found: list[FoundRecipient]


class RecipientLookup:
    """Looks addresses up in the database, in a thread; `clock` is monotonic, in seconds.

    `now` is the time by which aliases end.  `postmaster` is the mailbox for mail to postmaster;
    without it, postmaster is a mailbox like any other.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        *,
        now: Callable[[], datetime],
        postmaster: SmtpAddress | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._now = now
        self._postmaster = postmaster
        self._open: dict[SmtpAddress, FoundRecipient] = {}
        self._number: int | None = None  # the mailstore's change number of the entries in `_open`
        self._holds_until = float("-inf")
        self._ends = float("-inf")
        self._used: dict[int, Usage] = {}  # of mailboxes with a quota
        self._limits: tuple[int | None, Mapping[int, int]] = (None, {})  # see `_domain_limits`
        self._in_domains = DomainUsage(clock)
        self._summing: asyncio.Task[None] | None = None
        self._domains: frozenset[str] = frozenset()
        self._domains_until = float("-inf")
        self._waiting: list[tuple[_Question, asyncio.Future[FoundRecipient] | None]] = []
        self._asking: asyncio.Task[None] | None = None

    def cached(self, address: SmtpAddress) -> FoundRecipient | None:
        """The cached entry of an address: only open mailboxes without a quota are cached."""
        return self.open_mailboxes().get(address)

    def open_mailboxes(self) -> Mapping[SmtpAddress, FoundRecipient]:
        """All valid cache entries at this moment.

        A new object, unless empty, whenever entries were dropped.
        """
        return self._open if self._clock() < self._holds_until else {}

    async def lookup(
        self, address: SmtpAddress, size: int | None = None, ahead: Iterable[SmtpAddress] = ()
    ) -> FoundRecipient:
        """Find an address for a message of `size` octets, None if unknown.

        Addresses `ahead` are looked up by the same query, for the cache.  Raises StoreDeferred if
        the database gives no answer.
        """
        known = self.cached(address)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[FoundRecipient] = loop.create_future()
        self._waiting.append(((address, size), answer))
        self._waiting += (((one, size), None) for one in ahead if self.cached(one) is None)
        if self._asking is None:
            self._asking = loop.create_task(self._answer())
        return await answer

    def find(self, address: SmtpAddress, size: int | None = None) -> FoundRecipient:
        """Find an address, blocking.  Raises StoreDeferred."""
        return self._ask([(address, size)]).found[0]

    def find_all(self, addresses: Sequence[SmtpAddress]) -> list[FoundRecipient]:
        """Find many addresses by few queries, blocking.  Raises StoreDeferred."""
        found: list[FoundRecipient] = []
        for start in range(0, len(addresses), _BATCH):
            found += self._ask([(one, None) for one in addresses[start : start + _BATCH]]).found
        return found

    def find_sender(self, address: SmtpAddress) -> FoundRecipient:
        """Find the mailbox of exactly this address, blocking: an alias never sends.

        Raises StoreDeferred.
        """
        found = self._ask([(address, None)], alias=False).found[0]
        if found.state is RecipientStatus.REFUSED:  # of no concern to a sender
            return replace(found, state=RecipientStatus.SUSPENDED)
        return found

    async def check_open(self, mailbox_ids: Sequence[int]) -> None:
        """Check once more the mailboxes of a message that took long to arrive.

        Raises ClosedMeanwhile: the peer tries again, and RCPT then has the final answer; raises
        StoreDeferred.
        """
        await asyncio.to_thread(self._check_open, mailbox_ids)

    def _check_open(self, mailbox_ids: Sequence[int]) -> None:
        try:
            with self._database.read() as connection:
                check_none_closed(connection, mailbox_ids)
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error

    async def own_domains(self) -> frozenset[str]:
        """The domains served here, at most some seconds old.  Raises StoreDeferred."""
        now = self._clock()
        if now >= self._domains_until:
            self._domains = await asyncio.to_thread(self._ask_domains)
            self._domains_until = now + DOMAINS_CACHE_SECONDS
        return self._domains

    def _ask_domains(self) -> frozenset[str]:
        try:
            with self._database.read() as connection:
                return local_domains(connection)
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error

    async def _answer(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                questions = [question for question, _ in batch]
                begun = self._clock()
                if begun >= self._ends:
                    self._used = {}  # deleted messages are not subtracted from a running sum
                try:
                    answers = await asyncio.to_thread(self._ask, questions)
                except Exception as error:  # every waiting session needs an answer
                    for _, answer in batch:
                        if answer is not None and not answer.done():
                            answer.set_exception(error)
                    continue
                self._cache(begun, questions, answers)
                for (_, answer), found in zip(batch, answers.found, strict=True):
                    if answer is not None and not answer.done():  # done: the peer has gone
                        answer.set_result(found)
        finally:
            self._asking = None
        if self._in_domains.any_due() and (self._summing is None or self._summing.done()):
            self._summing = asyncio.get_running_loop().create_task(self._sum_domains())

    async def _sum_domains(self) -> None:
        # Beside the questions: the sum of a large domain takes seconds.
        with suppress(StoreUnavailable):  # the next question tries again
            await asyncio.to_thread(self._in_domains.sum_due, self._database)

    def _cache(self, begun: float, questions: Sequence[_Question], answers: _CachedAnswers) -> None:
        if answers.number != self._number or begun >= self._ends or len(self._open) >= MAX_CACHED:
            self._open = {}
            self._number, self._ends = answers.number, begun + CACHE_AGE_LIMIT
        self._holds_until = begun + CACHE_SECONDS
        room = MAX_CACHED - len(self._open)
        for (address, _), found in zip(questions[:room], answers.found, strict=False):
            if found.state is RecipientStatus.ACTIVE and not found.bounded:
                self._open[address] = found

    def _ask(self, questions: Sequence[_Question], *, alias: bool = True) -> _CachedAnswers:
        postmaster = self._postmaster if alias else None
        named = [address for address, _ in questions]
        if postmaster is not None and any(map(_is_postmaster, named)):
            named.append(postmaster)
        try:
            with self._database.read() as connection:
                number = change_number(connection)
                stored = find_recipients(connection, map(str, named))
                if not alias:
                    stored = {key: one for key, one in stored.items() if not one.alias}
                hosted = _HostedDomains(connection)
                limits = self._domain_limits(connection, number)
                found = [
                    self._found(connection, stored, hosted, limits, address, size or 0, postmaster)
                    for address, size in questions
                ]
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        return _CachedAnswers(number, found)

    def _found(
        self,
        connection: Connection,
        stored: Mapping[str, StoredRecipient],
        hosted: "_HostedDomains",
        limits: Mapping[int, int],
        address: SmtpAddress,
        size: int,
        postmaster: SmtpAddress | None,
    ) -> FoundRecipient:
        mailbox, bounded = stored.get(str(address)), False
        if mailbox is not None and mailbox.ends_at is not None:
            now = self._now()
            bounded = mailbox.ends_at - now < _NEAR
            mailbox = mailbox if now < mailbox.ends_at else None
        if mailbox is None:
            local = not address.domain or hosted.has(address.domain)
            if local and postmaster is not None and _is_postmaster(address):
                return self._found(connection, stored, hosted, limits, postmaster, size, None)
            return FoundRecipient(RecipientStatus.UNKNOWN if local else RecipientStatus.FOREIGN)
        state, quota = _STATUS[mailbox.state], mailbox.quota
        domain_limit = limits.get(mailbox.domain_id)
        if mailbox.inbound is InboundMail.REFUSE and state is RecipientStatus.SUSPENDED:
            state = RecipientStatus.REFUSED
        if quota is not None and state is RecipientStatus.ACTIVE:
            used = self._usage(connection, mailbox.mailbox_id)
            if used >= quota or used + size > quota:
                state = RecipientStatus.FULL
        if domain_limit is not None and state is RecipientStatus.ACTIVE:
            used = self._in_domains.octets(connection, mailbox.domain_id)
            if used >= domain_limit or used + size > domain_limit:
                state = RecipientStatus.FULL
        return FoundRecipient(
            state,
            mailbox.mailbox_id,
            bounded or quota is not None or domain_limit is not None,
            mailbox.type,
            mailbox.no_reply,
        )

    def _domain_limits(self, connection: Connection, number: int) -> Mapping[int, int]:
        # Quotas of domains by id.  To set one changes the number, so they are rarely read.
        if number != self._limits[0]:
            self._limits = (number, domain_limits(connection))
        return self._limits[1]

    def _usage(self, connection: Connection, mailbox_id: int) -> int:
        # A mailbox may hold tens of thousands of messages: only new ones are added to the sum.
        remembered = self._used
        usage = used_octets(connection, mailbox_id, remembered.get(mailbox_id, Usage()))
        if len(remembered) < MAX_CACHED:
            remembered[mailbox_id] = usage
        return usage.octets


class _HostedDomains:
    """Domains of one batch of addresses, each asked for once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, bool] = {}

    def has(self, domain: str) -> bool:
        """Whether the domain is hosted here."""
        found = self._known.get(domain)
        if found is None:
            found = self._known[domain] = is_local_domain(self._connection, domain)
        return found


def check_none_closed(connection: Connection, mailbox_ids: Sequence[int]) -> None:
    """Raise ClosedMeanwhile if one of the mailboxes is closed or deleted."""
    if any_closed(connection, mailbox_ids):
        raise ClosedMeanwhile(_CLOSED_MEANWHILE)


def _is_postmaster(address: SmtpAddress) -> bool:
    return address.local.lower() == "postmaster"
