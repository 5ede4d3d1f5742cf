"""One message handed to a peer on an open connection, and what became of each recipient."""

from collections.abc import Iterable, Mapping
from typing import Final

from foundation.failpoints import failpoint
from relay.client.connect import ClientConfig
from relay.client.connection import ClientConnection, LinkFailed
from relay.client.data import Unanswered, Unsendable, send
from relay.client.replies import PeerReply
from relay.smtp.envelope import OutgoingMessage, commands
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State

_RSET: Final = b"RSET\r\n"
_DATA: Final = b"DATA\r\n"


class Stale(AttemptFailed):
    """The connection ended, or the peer took its leave, before it answered anything."""


class OutcomeUnknown(AttemptFailed):
    """The message was sent to its end and nothing usable was said of it.

    The peer may have it: another host must not be given it at once.  It is tried again later, for
    it must never be lost (RFC 5321 §4.5.4.1, §6.1), and so may arrive twice; how often, and what
    comes then, is `relay.queue.retry`'s.  `outcomes` has all recipients: `unknown` are those that
    the peer took, the others keep what was said of them, or wait unasked.
    """

    def __init__(self, detail: str, outcomes: Mapping[str, Outcome]) -> None:
        super().__init__(FailureReason.UNKNOWN_OUTCOME, detail)
        self.outcomes = outcomes


def deferred(answers: Mapping[str, Outcome]) -> tuple[str, ...]:
    """Recipients that want the next transaction, at once (RFC 5321 §4.5.3.1.10).

    None if this one was in vain: what comes next would be as well.
    """
    if all(one.state is State.WAITING for one in answers.values()):
        return ()
    return tuple(address for address, one in answers.items() if one.too_many)


async def transact(
    link: ClientConnection, terms: ClientConfig, letter: OutgoingMessage
) -> Mapping[str, Outcome]:
    """Hand one message over; returns what became of each recipient.

    Raises AttemptFailed, and what reading the message raises; the connection must be ended then.
    A recipient that is refused is refused for good or for now as the peer says (RFC 5321 §4.2.1).
    421 among the recipients breaks the transaction off: none of them has an answer.  421 later is a
    refusal of those that were taken, for now, and the others keep their answers.
    """
    wanted = commands(letter.envelope, letter.size, link.offers)
    refused = {
        one: Outcome(State.FAILED, why, link.offers.dsn) for one, why in wanted.refused.items()
    }
    unasked = {
        one: Outcome(State.WAITING, why, link.offers.dsn, too_many=True)
        for one, why in wanted.deferred.items()
    }
    if not wanted.rcpt:
        return refused
    transaction = _Transaction(link, terms, wanted.mail, wanted.rcpt)
    try:
        answers = await transaction.run(letter)
    except Unanswered as error:
        detail = f"{link.host}: unknown-outcome: {error}"
        answers = {**refused, **transaction.without_verdict(detail), **unasked}
        raise OutcomeUnknown(detail, answers) from error
    except LinkFailed as error:
        raise AttemptFailed(error.reason, f"{link.host}: {error}") from error
    return {**refused, **answers, **unasked}


class _Transaction:
    """MAIL, RCPT and the message (RFC 5321 §3.3), pipelined where the peer offers it (RFC 2920).

    DATA goes along with the envelope, which saves a round trip.  Where the peer accepts it though
    it took no recipient, the message is ended by a lone dot at once and its reply read, as RFC 2920
    §3.1 says.  BDAT does not go along, and needs no more round trips than DATA so: it carries
    content, and a connection that ended without any reply would leave open what became of the
    message, while as it is a message without a reply to MAIL can be tried anew at once.
    """

    def __init__(
        self, link: ClientConnection, terms: ClientConfig, mail: bytes, rcpt: Mapping[str, bytes]
    ) -> None:
        self._link = link
        self._terms = terms
        self._mail = mail
        self._rcpt = rcpt
        self._together = link.offers.pipelining
        self._data = not link.offers.chunking
        self._answers: dict[str, Outcome] = {}
        self._taken: list[str] = []

    async def run(self, letter: OutgoingMessage) -> Mapping[str, Outcome]:
        refusal = await self._begin()
        if refusal is not None:
            self._answer(self._rcpt, refusal)
            await self._clear_up(len(self._rcpt))
            return self._answers
        failpoint("delivery.mail")
        for address, command in self._rcpt.items():
            self._hear(address, await self._reply(command))
            letter.heard()
        if not self._taken:
            await self._clear_up(0)
            return self._answers
        failpoint("delivery.rcpt")
        self._answer(self._taken, await self._content(letter))
        return self._answers

    def without_verdict(self, detail: str) -> Mapping[str, Outcome]:
        """The answers if the peer says nothing of the message that it was sent."""
        unknown = Outcome(State.WAITING, detail, self._link.offers.dsn, unknown=True)
        return {**self._answers, **dict.fromkeys(self._taken, unknown)}

    async def _begin(self) -> PeerReply | None:
        """Say MAIL; the refusal if there is one.  Raises Stale if the connection was none."""
        link = self._link
        reset = [_RSET] if link.open_transaction else []
        link.messages += 1
        if self._together:
            data = [_DATA] if self._data else []
            link.write(b"".join([*reset, self._mail, *self._rcpt.values(), *data]))
        try:
            for command in (*reset, self._mail):
                reply = await self._reply(command)
                if reply.code == 421 or (command is _RSET and not reply.positive):
                    raise Stale(FailureReason.UNAVAILABLE, f"{link.host}: {reply}")
        except LinkFailed as error:
            if error.reason in {FailureReason.TIMEOUT, FailureReason.PROTOCOL}:
                raise
            raise Stale(error.reason, f"{link.host}: {error}") from error
        link.open_transaction = reply.positive
        return None if reply.positive else self._expected(reply)

    async def _reply(self, command: bytes) -> PeerReply:
        """The reply to a command, which is said now unless all were said together."""
        if not self._together:
            self._link.write(command)
        patience = self._terms.start_timeout if command is _DATA else self._terms.timeout
        return await self._link.reply(patience)

    def _expected(self, reply: PeerReply) -> PeerReply:
        if reply.positive or reply.refusal:
            return reply
        raise LinkFailed(FailureReason.PROTOCOL, f"the peer said out of turn: {reply}")

    def _hear(self, address: str, reply: PeerReply) -> None:
        if reply.code == 421:
            raise LinkFailed(FailureReason.UNAVAILABLE, str(reply))
        if self._expected(reply).positive:
            self._taken.append(address)
        elif reply.too_many_recipients and self._taken:
            self._answers[address] = Outcome(
                State.WAITING, str(reply), self._link.offers.dsn, too_many=True
            )
        else:
            self._answer([address], reply)

    def _answer(self, addresses: Iterable[str], reply: PeerReply) -> None:
        if reply.positive:
            state = State.DELIVERED
        else:
            state = State.FAILED if reply.code >= 500 else State.WAITING
        answer = Outcome(state, str(reply), self._link.offers.dsn)
        self._answers.update(dict.fromkeys(addresses, answer))

    async def _clear_up(self, owed: int) -> None:
        """Nobody is to have the message: read what was pipelined behind the refusal.

        The answers stand, whatever becomes of the connection.
        """
        if not self._together:
            return
        link, seconds = self._link, self._terms.timeout
        try:
            for _ in range(owed):
                await link.reply(seconds)
            if self._data and (await link.reply(seconds)).intermediate:
                link.write(b".\r\n")
                await link.reply(seconds)
        except LinkFailed:
            link.abort()

    async def _content(self, letter: OutgoingMessage) -> PeerReply:
        """The reply that decides about the message."""
        link, terms = self._link, self._terms
        if self._data:
            start = await self._reply(_DATA)
            if start.refusal:
                return start
            if not start.intermediate:
                raise LinkFailed(FailureReason.PROTOCOL, f"to DATA the peer said: {start}")
        if not link.quiet:
            # With one reply too many, a refusal of the message would be read too late.
            raise LinkFailed(FailureReason.PROTOCOL, "the peer said more than it was asked")
        failpoint("delivery.data")
        try:
            end = await send(link, letter, block=terms.block_timeout, verdict=terms.data_timeout)
        except Unsendable as error:
            # However it came to be stored, where it ends would be for the peer to guess
            # (RFC 5321 §4.1.1.4): the message is not ended, so it was never sent.
            link.abort()
            return PeerReply(550, f"5.6.0 not sent: it contains {error}")
        link.open_transaction = not end.positive
        return end
