"""SMTP transaction: a message sent on an open connection, and the outcome of each recipient."""

from collections.abc import Iterable, Mapping
from typing import Final

from foundation.failpoints import failpoint
from relay.client.connect import ClientConfig
from relay.client.connection import ClientConnection, ConnectionFailed
from relay.client.data import Unanswered, Unsendable, send
from relay.client.replies import PeerReply
from relay.smtp.envelope import OutgoingMessage, commands
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State

_RSET: Final = b"RSET\r\n"
_DATA: Final = b"DATA\r\n"


class Stale(AttemptFailed):
    """The connection ended, or the peer sent 421, before any reply of this transaction."""


class OutcomeUnknown(AttemptFailed):
    """Whole message sent, but no usable reply: the peer may have it.

    No other host may get it at once.  It is tried again later, because it must not be lost (RFC
    5321 §4.5.4.1, §6.1), so it may arrive twice; `relay.queue.retry` sets the limits.
    `outcomes` has all recipients: `unknown` for the recipients that the peer accepted; the others
    keep their reply, or wait if they were not sent.
    """

    def __init__(self, detail: str, outcomes: Mapping[str, Outcome]) -> None:
        super().__init__(FailureReason.UNKNOWN_OUTCOME, detail)
        self.outcomes = outcomes


def over_recipient_limit(answers: Mapping[str, Outcome]) -> tuple[str, ...]:
    """Return the recipients for a further transaction, at once (RFC 5321 §4.5.3.1.10).

    None of them if all recipients wait: a further transaction would fail as well.
    """
    if all(one.state is State.WAITING for one in answers.values()):
        return ()
    return tuple(address for address, one in answers.items() if one.too_many)


async def transact(
    connection: ClientConnection, config: ClientConfig, message: OutgoingMessage
) -> Mapping[str, Outcome]:
    """Send a message on a connection; return the outcome of each recipient.

    Raises AttemptFailed, and errors from reading the message; then the connection must be closed.
    The peer's reply decides whether a refused recipient fails or waits (RFC 5321 §4.2.1).  421 to a
    RCPT aborts the transaction: no recipient has an outcome.  A later 421 defers the accepted
    recipients, and the others keep their outcomes.
    """
    wanted = commands(message.envelope, message.size, connection.offers)
    refused = {
        one: Outcome(State.FAILED, why, connection.offers.dsn)
        for one, why in wanted.refused.items()
    }
    unasked = {
        one: Outcome(State.WAITING, why, connection.offers.dsn, too_many=True)
        for one, why in wanted.deferred.items()
    }
    if not wanted.rcpt:
        return refused
    transaction = _Transaction(connection, config, wanted.mail, wanted.rcpt)
    try:
        answers = await transaction.run(message)
    except Unanswered as error:
        detail = f"{connection.host}: unknown-outcome: {error}"
        answers = {**refused, **transaction.without_verdict(detail), **unasked}
        raise OutcomeUnknown(detail, answers) from error
    except ConnectionFailed as error:
        raise AttemptFailed(error.reason, f"{connection.host}: {error}") from error
    return {**refused, **answers, **unasked}


class _Transaction:
    """MAIL, RCPT and the message (RFC 5321 §3.3), pipelined if the peer offers it (RFC 2920).

    DATA is pipelined with the envelope, to save a round trip.  If the peer accepts DATA without any
    accepted recipient, a lone dot ends the message at once and its reply is read (RFC 2920 §3.1).
    BDAT is not pipelined with the envelope, and so needs no more round trips than DATA.  BDAT
    carries content: if the connection ended without any reply, the outcome would be unknown.
    Without content sent, a message without a reply to MAIL can be tried again at once.
    """

    def __init__(
        self,
        connection: ClientConnection,
        config: ClientConfig,
        mail: bytes,
        rcpt: Mapping[str, bytes],
    ) -> None:
        self._connection = connection
        self._config = config
        self._mail = mail
        self._rcpt = rcpt
        self._together = connection.offers.pipelining
        self._data = not connection.offers.chunking
        self._answers: dict[str, Outcome] = {}
        self._taken: list[str] = []

    async def run(self, message: OutgoingMessage) -> Mapping[str, Outcome]:
        refusal = await self._begin()
        if refusal is not None:
            self._answer(self._rcpt, refusal)
            await self._clear_up(len(self._rcpt))
            return self._answers
        failpoint("delivery.mail")
        for address, command in self._rcpt.items():
            self._hear(address, await self._reply(command))
            message.on_reply()
        if not self._taken:
            await self._clear_up(0)
            return self._answers
        failpoint("delivery.rcpt")
        self._answer(self._taken, await self._content(message))
        return self._answers

    def without_verdict(self, detail: str) -> Mapping[str, Outcome]:
        """Outcomes if the peer sends no reply to the whole message."""
        unknown = Outcome(State.WAITING, detail, self._connection.offers.dsn, unknown=True)
        return {**self._answers, **dict.fromkeys(self._taken, unknown)}

    async def _begin(self) -> PeerReply | None:
        """Send MAIL; return the refusal, if any.  Raises Stale if the connection had ended."""
        connection = self._connection
        reset = [_RSET] if connection.open_transaction else []
        connection.messages += 1
        if self._together:
            data = [_DATA] if self._data else []
            connection.write(b"".join([*reset, self._mail, *self._rcpt.values(), *data]))
        try:
            for command in (*reset, self._mail):
                reply = await self._reply(command)
                if reply.code == 421 or (command is _RSET and not reply.positive):
                    raise Stale(FailureReason.UNAVAILABLE, f"{connection.host}: {reply}")
        except ConnectionFailed as error:
            if error.reason in {FailureReason.TIMEOUT, FailureReason.PROTOCOL}:
                raise
            raise Stale(error.reason, f"{connection.host}: {error}") from error
        connection.open_transaction = reply.positive
        return None if reply.positive else self._expected(reply)

    async def _reply(self, command: bytes) -> PeerReply:
        """Return the reply to a command; send the command now unless pipelined."""
        if not self._together:
            self._connection.write(command)
        patience = self._config.start_timeout if command is _DATA else self._config.timeout
        return await self._connection.reply(patience)

    def _expected(self, reply: PeerReply) -> PeerReply:
        if reply.positive or reply.refusal:
            return reply
        raise ConnectionFailed(FailureReason.PROTOCOL, f"the peer said out of turn: {reply}")

    def _hear(self, address: str, reply: PeerReply) -> None:
        if reply.code == 421:
            raise ConnectionFailed(FailureReason.UNAVAILABLE, str(reply))
        if self._expected(reply).positive:
            self._taken.append(address)
        elif reply.too_many_recipients and self._taken:
            self._answers[address] = Outcome(
                State.WAITING, str(reply), self._connection.offers.dsn, too_many=True
            )
        else:
            self._answer([address], reply)

    def _answer(self, addresses: Iterable[str], reply: PeerReply) -> None:
        if reply.positive:
            state = State.DELIVERED
        else:
            state = State.FAILED if reply.code >= 500 else State.WAITING
        answer = Outcome(state, str(reply), self._connection.offers.dsn)
        self._answers.update(dict.fromkeys(addresses, answer))

    async def _clear_up(self, owed: int) -> None:
        """Read the replies to commands pipelined behind a refusal: no recipient is left.

        The outcomes stand, even if the connection fails.
        """
        if not self._together:
            return
        connection, seconds = self._connection, self._config.timeout
        try:
            for _ in range(owed):
                await connection.reply(seconds)
            if self._data and (await connection.reply(seconds)).intermediate:
                connection.write(b".\r\n")
                await connection.reply(seconds)
        except ConnectionFailed:
            connection.abort()

    async def _content(self, message: OutgoingMessage) -> PeerReply:
        """Send the message; return the reply that decides."""
        connection, config = self._connection, self._config
        if self._data:
            start = await self._reply(_DATA)
            if start.refusal:
                return start
            if not start.intermediate:
                raise ConnectionFailed(FailureReason.PROTOCOL, f"to DATA the peer said: {start}")
        if not connection.quiet:
            # After a reply too many, a refusal of the message would be read too late.
            raise ConnectionFailed(FailureReason.PROTOCOL, "the peer said more than it was asked")
        failpoint("delivery.data")
        try:
            end = await send(
                connection, message, block=config.block_timeout, verdict=config.data_timeout
            )
        except Unsendable as error:
            # The peer would have to guess the end of this message (RFC 5321 §4.1.1.4), however it
            # came into the store: its end is not sent, so the message was never sent.
            connection.abort()
            return PeerReply(550, f"5.6.0 not sent: it contains {error}")
        connection.open_transaction = not end.positive
        return end
