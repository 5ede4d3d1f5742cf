"""All that the session uses of aiosmtpd and asyncio beyond their documentation.

`aiosmtpd.smtp.SMTP` makes the task that serves a connection, arms the timeout of the first wait and
ends both with the connection.  The session does the rest.  For that it must remove some parts:
hooks and commands that aiosmtpd looks for in every session, the StreamWriter that asyncio would
make, the reference cycles that aiosmtpd leaves.  Each private name is used here or, where a method
of aiosmtpd is replaced, in `relay.server.session`.
`tests/unit/relay/server/test_aiosmtpd_adapter.py` checks each against the installed version, and
pyproject.toml keeps out the next one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from aiosmtpd.smtp import SMTP

from relay.connection.streams import InboundBuffer, ReplyWriter

# aiosmtpd logs every command line, patients' addresses included.
logging.getLogger("mail.log").disabled = True

REPLACED: Final = ("_handle_client", "_timeout_cb")  # by the session; aiosmtpd calls them


class _NoHooks:
    """A handler for aiosmtpd, which searches its members for hooks: there are none."""

    __slots__ = ()

    def __dir__(self) -> list[str]:
        return []


_NO_HOOKS: Final = _NoHooks()


def arguments(hostname: str, ident: str, timeout: float) -> dict[str, Any]:
    """Arguments of `SMTP.__init__`; `timeout` is that of a wait for the peer, in seconds."""
    return {
        "handler": _NO_HOOKS,
        "data_size_limit": None,
        "enable_SMTPUTF8": True,
        "hostname": hostname,
        "ident": ident,
        "timeout": timeout,
        "loop": asyncio.get_running_loop(),
    }


def attach(smtp: SMTP, inbound: InboundBuffer, outbound: ReplyWriter) -> None:
    """Put our streams in place of asyncio's, before `SMTP.connection_made`."""
    # aiosmtpd uses no other methods of them than these two have.
    smtp._reader = cast("asyncio.StreamReader", inbound)
    smtp._writer = cast("asyncio.StreamWriter", outbound)
    # Without a callback asyncio makes no StreamWriter.  Nothing would keep it, and since Python
    # 3.13 a StreamWriter that is dropped closes its transport (CPython issue 114914).
    smtp._client_connected_cb = smtp._strong_reader = None  # type: ignore[attr-defined]


def wait_at_most(smtp: SMTP, seconds: float) -> None:
    """Arm the timeout of a wait for the peer; replaces an earlier timeout."""
    smtp._reset_timeout(seconds)


def stop_waiting(smtp: SMTP) -> None:
    """Disarm the timeout: our own work begins."""
    if smtp._timeout_handle is not None:
        smtp._timeout_handle.cancel()


def once_over(smtp: SMTP, done: Callable[[object], None]) -> None:
    """Call `done` when the serving task, cancelled by now, has ended."""
    if smtp._handler_coroutine is not None:
        smtp._handler_coroutine.add_done_callback(done)


def cut_circles(smtp: SMTP) -> None:
    """Cut the reference cycles of an ended session, so that its memory is freed at once.

    aiosmtpd holds the task and the timeout, and both hold the session.
    """
    smtp._handler_coroutine = smtp._timeout_handle = None
    del smtp._reader, smtp._writer
