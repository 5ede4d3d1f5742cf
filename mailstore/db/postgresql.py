"""Connections to PostgreSQL: how they are made, set up, and given up where no answer comes.

A host that vanishes without a word is noticed by keepalives and `tcp_user_timeout`.  One that is
frozen, and whose kernel still acknowledges, only by a time for each answer: the server's own
`statement_timeout` is frozen with it.  Imported where PostgreSQL is used, and nowhere else: psycopg
would cost every process that uses SQLite.
"""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo, timeout_from_conninfo
from psycopg.errors import _WaitTimeout
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import ArgumentError, InvalidatePoolError

from mailstore.db.commits import hear_warnings
from mailstore.db.driver_errors import SHARED_BY_TRANSACTIONS, STANDBY
from mailstore.errors import InvalidDatabaseUrl, StoreUnavailable

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, PQGen
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_Result = TypeVar("_Result")

REST: Final = 5.0  # seconds unused after which a connection is tried before it is lent
CONNECT_SECONDS: Final = 10.0  # for the server to take a connection
TRIAL_SECONDS: Final = 5.0  # for an answer to what costs the server nothing
MARGIN_SECONDS: Final = 5.0  # after which an answer is late that the server owes by its own time

# What a URL says of these wins.  The keepalives notice within 25 seconds that the other side of a
# silent connection has gone, `tcp_user_timeout` (milliseconds) that what was sent has not arrived.
_PARAMETERS: Final[Mapping[str, Any]] = {
    "connect_timeout": round(CONNECT_SECONDS),
    "tcp_user_timeout": 20_000,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "mssante",
}
# Else a database, a role or a URL may have another, in which most addresses cannot even be sent.
_OURS: Final[Mapping[str, Any]] = {"client_encoding": "utf8"}

# Settings of every session, by SET rather than by start-up options, which connection poolers drop.
# What is set for a database or a role does not hold; what the URL sets (`options=-c …`) wins, but
# for the first group, on which our statements rely.  A server that is too old for one lacks it.
_SESSION: Final = """
SELECT set_config(s.name, w.value, false)
FROM (VALUES
  ('timezone', 'UTC', true),
  ('datestyle', 'ISO', true),
  ('default_transaction_isolation', 'read committed', true),
  ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                         ELSE current_setting('synchronous_commit') END, true),
  ('statement_timeout', '30s', false),
  ('lock_timeout', '10s', false),
  ('idle_in_transaction_session_timeout', '60s', false),
  ('idle_session_timeout', '0', false),
  ('transaction_timeout', '0', false)
) AS w (name, value, ours)
JOIN pg_settings AS s ON lower(s.name) = w.name
WHERE w.ours OR s.source <> 'client'
"""
_STATE: Final = (
    "SELECT setting::bigint, pg_is_in_recovery() FROM pg_settings WHERE name = 'statement_timeout'"
)


def connect_parameters(url: URL) -> dict[str, Any]:
    """Parameters of libpq for a URL, by its names; the same for the pool and for LISTEN.

    As parameters of their own, never as one text: a password may hold whatever it likes.  Raises
    InvalidDatabaseUrl for those that libpq does not know.
    """
    try:
        _, given = url.get_dialect()().create_connect_args(url)
        parameters = {**_PARAMETERS, **given, **_OURS}
        timeout_from_conninfo(conninfo_to_dict(make_conninfo("", **parameters)))
    except (psycopg.Error, ArgumentError) as error:
        raise InvalidDatabaseUrl(f"the options of the database URL: {first_line(error)}") from None
    return parameters


class Link(psycopg.Connection[TupleRow]):
    """A connection on which no answer is waited for longer than `answer_seconds`, None for ever.

    One that is late ends the connection, with the OperationalError that a lost one raises.  Where
    `patient`, a late answer is waited for as long as the server takes another connection meanwhile.
    Errors say their first line alone: the others quote rows, and so addresses.
    """

    answer_seconds: float | None = CONNECT_SECONDS  # until it is set up
    patient: bool = False
    server_session: int | None = None  # the process of the server that has answered first
    parameters: Mapping[str, Any] = MappingProxyType({})  # that it was made with

    def wait(
        self, gen: "PQGen[_Result]", interval: float = 0.1, timeout: float | None = None
    ) -> _Result:
        """Wait for the server.  Raises psycopg.Error, an OperationalError if it is late."""
        limit = self.answer_seconds if timeout is None else None
        while True:
            try:
                return super().wait(gen, interval, limit if timeout is None else timeout)
            except _WaitTimeout:
                if limit is None:
                    raise
                if self.patient and self._server_answers():
                    continue
                self.close()
                raise psycopg.OperationalError(
                    f"the server has not answered for {limit:g} seconds: it hangs, or the network "
                    "to it is cut"
                ) from None
            except psycopg.Error as error:
                error.args = (first_line(error),)
                raise

    def set_up(self) -> None:
        """Give the session its settings and its time for answers.

        Raises psycopg.Error, also for a server that is a standby.
        """
        self.autocommit = True
        self.execute(_SESSION)
        limit, is_standby = self.execute(_STATE).fetchone() or (0, False)
        if is_standby:
            # Not read from either: by a state of days ago good mail would be refused, and bodies
            # freed that messages of since then need.
            raise psycopg.OperationalError(STANDBY)
        self.server_session = self.session()
        self.autocommit = False
        limit /= 1000
        self.answer_seconds = limit + MARGIN_SECONDS if limit else None

    def try_out(self) -> bool:
        """Whether it is the same session of the server that answers, and soon.

        Outside of a transaction.  Raises psycopg.Error if nothing does.
        """
        usual, self.answer_seconds = self.answer_seconds, TRIAL_SECONDS
        try:
            self.autocommit = True
            same = self.session() == self.server_session
            self.autocommit = False
        finally:
            self.answer_seconds = usual
        return same

    def session(self) -> int:
        """The server process that answers.  Raises psycopg.Error."""
        row = self.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM
        return int(row[0])

    def _server_answers(self) -> bool:
        """Whether it takes a connection and answers on it: it is busy, and does not hang."""
        try:
            # At the same address: another server of the URL may well answer.
            here = {"host": self.info.host, "port": self.info.port}
            with open_link({**self.parameters, **here}) as other:
                other.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


def first_line(error: Exception) -> str:
    """The text of an error without the lines that quote rows, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def open_link(parameters: Mapping[str, Any], context: "AdaptContext | None" = None) -> Link:
    """Connect.  Raises psycopg.Error, at the latest after `connect_timeout` for each address."""
    link = Link.connect(make_conninfo("", **parameters), context=context)
    link.parameters = parameters
    return link


def create_engines(url: URL, pool_size: int, patience: float) -> tuple[Engine, Engine]:
    """Make the engines for writing and for reading; no connection is made yet.

    Who finds all of the pool lent waits `patience` seconds.  Raises InvalidDatabaseUrl.
    """
    parameters = connect_parameters(url)
    writer = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience,
    )

    @event.listens_for(writer, "do_connect")
    def connect(_dialect: object, _record: object, _given: object, options: dict[str, Any]) -> Link:
        link = open_link(parameters, context=options.get("context"))
        try:
            link.set_up()
        except BaseException:
            link.close()
            raise
        return link

    @event.listens_for(writer, "handle_error")
    def drop(context: ExceptionContext) -> None:
        # Of a statement that was prepared before its table changed: a new connection prepares anew.
        if getattr(context.original_exception, "sqlstate", None) == "0A000":
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False

    event.listen(writer, "connect", hear_warnings)
    _try_after_rest(writer)
    return writer, writer.execution_options(postgresql_readonly=True)


def _try_after_rest(engine: Engine) -> None:
    """Try a connection that has rested before it is lent: whatever is between may have cut it.

    One in use is known to be well, and is spared the round trip that each loan would cost.
    """

    @event.listens_for(engine, "checkin")
    def note(connection: "DBAPIConnection | None", record: "ConnectionPoolEntry") -> None:
        record.info["rests since"] = time.monotonic()
        if connection is not None:
            cast("Link", connection).patient = False

    @event.listens_for(engine, "checkout")
    def try_out(
        connection: "DBAPIConnection", record: "ConnectionPoolEntry", _proxy: object
    ) -> None:
        now = time.monotonic()
        if now - record.info.get("rests since", now) > REST:
            try:
                same = cast("Link", connection).try_out()
            except psycopg.Error as error:
                raise InvalidatePoolError from error  # another one is made, as for its kin
            if not same:
                raise StoreUnavailable(f"the database is unavailable: {SHARED_BY_TRANSACTIONS}")


def be_patient(connection: Connection) -> None:
    """Let late answers be late until the connection is given back to the pool."""
    cast("Link", connection.connection.driver_connection).patient = True
