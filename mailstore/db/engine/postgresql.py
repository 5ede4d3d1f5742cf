"""PostgreSQL connections: opening, settings, timeouts.

Keepalives and `tcp_user_timeout` detect a host that vanishes. A frozen host, whose kernel still
acknowledges, is only detected by our own timeout for each answer: the server's `statement_timeout`
is frozen too. Imported only where PostgreSQL is used: psycopg would cost each process that uses
SQLite.
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

from mailstore.db.engine.commits import collect_warnings
from mailstore.db.engine.driver_errors import SHARED_BY_TRANSACTIONS, STANDBY
from mailstore.errors import InvalidDatabaseUrl, StoreUnavailable

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, PQGen
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_Result = TypeVar("_Result")

IDLE_SECONDS: Final = 5.0  # seconds of disuse after which a connection is tested before it is lent
CONNECT_SECONDS: Final = 10.0  # timeout for a new connection
PING_SECONDS: Final = 5.0  # timeout for answers that cost the server nothing
MARGIN_SECONDS: Final = 5.0  # added to the server's own timeout

# Defaults; the URL may override them. Keepalives detect within 25 seconds that the peer of a silent
# connection is gone, `tcp_user_timeout` (milliseconds) that sent data has not arrived.
_PARAMETERS: Final[Mapping[str, Any]] = {
    "connect_timeout": round(CONNECT_SECONDS),
    "tcp_user_timeout": 20_000,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "mssante",
}
# Always UTF-8: a database, a role or a URL may set an encoding that lacks most characters.
_OURS: Final[Mapping[str, Any]] = {"client_encoding": "utf8"}

# Settings of each session, by SET: connection poolers drop start-up options. They override settings
# of the database or the role. The URL's settings (`options=-c …`) win, except over the first group,
# on which our statements rely. Settings unknown to an old server are skipped.
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
    """Return libpq parameters for a URL, by libpq's names; for the pool and for LISTEN.

    Separate parameters, never a single text: a password may contain any character. Raises
    InvalidDatabaseUrl for unknown parameters.
    """
    try:
        _, given = url.get_dialect()().create_connect_args(url)
        parameters = {**_PARAMETERS, **given, **_OURS}
        timeout_from_conninfo(conninfo_to_dict(make_conninfo("", **parameters)))
    except (psycopg.Error, ArgumentError) as error:
        raise InvalidDatabaseUrl(f"the options of the database URL: {first_line(error)}") from None
    return parameters


class PostgresConnection(psycopg.Connection[TupleRow]):
    """A connection with a timeout of `answer_seconds` for each answer (None: no timeout).

    A late answer closes the connection and raises the OperationalError of a lost connection. If
    `has_no_timeout`, a late answer is awaited as long as the server accepts another connection.
    Errors have only their first line: other lines quote rows, and so addresses.
    """

    answer_seconds: float | None = CONNECT_SECONDS  # until `set_up`
    has_no_timeout: bool = False
    server_session: int | None = None  # process of the server at set-up
    parameters: Mapping[str, Any] = MappingProxyType({})  # libpq parameters of this connection

    def wait(
        self, gen: "PQGen[_Result]", interval: float = 0.1, timeout: float | None = None
    ) -> _Result:
        """Wait for the server. Raises psycopg.Error; OperationalError for a late answer."""
        limit = self.answer_seconds if timeout is None else None
        while True:
            try:
                return super().wait(gen, interval, limit if timeout is None else timeout)
            except _WaitTimeout:
                if limit is None:
                    raise
                if self.has_no_timeout and self._server_answers():
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
        """Apply the session's settings and its timeout for answers.

        Raises psycopg.Error, also for a standby server.
        """
        self.autocommit = True
        self.execute(_SESSION)
        limit, is_standby = self.execute(_STATE).fetchone() or (0, False)
        if is_standby:
            # No reads from a standby either: by a state of days ago, good mail would be refused,
            # and bodies of newer messages freed.
            raise psycopg.OperationalError(STANDBY)
        self.server_session = self.session()
        self.autocommit = False
        limit /= 1000
        self.answer_seconds = limit + MARGIN_SECONDS if limit else None

    def is_alive(self) -> bool:
        """True if the same session of the server answers, and soon.

        Outside a transaction. Raises psycopg.Error without an answer.
        """
        usual, self.answer_seconds = self.answer_seconds, PING_SECONDS
        try:
            self.autocommit = True
            same = self.session() == self.server_session
            self.autocommit = False
        finally:
            self.answer_seconds = usual
        return same

    def session(self) -> int:
        """Process of the server that answers. Raises psycopg.Error."""
        row = self.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM
        return int(row[0])

    def _server_answers(self) -> bool:
        """True if the server accepts a connection and answers: it is busy, and does not hang."""
        try:
            # Same address: another server of the URL might answer.
            here = {"host": self.info.host, "port": self.info.port}
            with open_connection({**self.parameters, **here}) as other:
                other.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


def first_line(error: Exception) -> str:
    """First line of an error, without the lines that quote rows; its class if empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def open_connection(
    parameters: Mapping[str, Any], context: "AdaptContext | None" = None
) -> PostgresConnection:
    """Connect. Raises psycopg.Error, at the latest after `connect_timeout` per address."""
    link = PostgresConnection.connect(make_conninfo("", **parameters), context=context)
    link.parameters = parameters
    return link


def create_engines(url: URL, pool_size: int, timeout: float) -> tuple[Engine, Engine]:
    """Make the engines for writing and for reading; no connection is made yet.

    `timeout` is the longest wait for a free connection, in seconds. Raises InvalidDatabaseUrl.
    """
    parameters = connect_parameters(url)
    writer = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
    )

    @event.listens_for(writer, "do_connect")
    def connect(
        _dialect: object, _record: object, _given: object, options: dict[str, Any]
    ) -> PostgresConnection:
        link = open_connection(parameters, context=options.get("context"))
        try:
            link.set_up()
        except BaseException:
            link.close()
            raise
        return link

    @event.listens_for(writer, "handle_error")
    def drop(context: ExceptionContext) -> None:
        # A statement prepared before its table changed: a new connection prepares it again.
        if getattr(context.original_exception, "sqlstate", None) == "0A000":
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False

    event.listen(writer, "connect", collect_warnings)
    _ping_after_idle(writer)
    return writer, writer.execution_options(postgresql_readonly=True)


def _ping_after_idle(engine: Engine) -> None:
    """Test a connection after disuse before it is lent: a firewall may have cut it.

    A connection in steady use is known to work; it is spared the round trip.
    """

    @event.listens_for(engine, "checkin")
    def note(connection: "DBAPIConnection | None", record: "ConnectionPoolEntry") -> None:
        record.info["rests since"] = time.monotonic()
        if connection is not None:
            cast("PostgresConnection", connection).has_no_timeout = False

    @event.listens_for(engine, "checkout")
    def try_out(
        connection: "DBAPIConnection", record: "ConnectionPoolEntry", _proxy: object
    ) -> None:
        now = time.monotonic()
        if now - record.info.get("rests since", now) > IDLE_SECONDS:
            try:
                same = cast("PostgresConnection", connection).is_alive()
            except psycopg.Error as error:
                raise InvalidatePoolError from error  # the whole old pool is replaced
            if not same:
                raise StoreUnavailable(f"the database is unavailable: {SHARED_BY_TRANSACTIONS}")


def disable_statement_timeout(connection: Connection) -> None:
    """Await late answers until the connection returns to the pool."""
    cast("PostgresConnection", connection.connection.driver_connection).has_no_timeout = True
