"""The private names of aiosmtpd that we use exist in the installed version.

A failure here names the attribute that a new version has changed: see
`relay.server.aiosmtpd_adapter`.
"""

import asyncio
import re
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from relay.server import aiosmtpd_adapter
from relay.server.peer_service import peer_session
from relay.server.session import Session
from tests.support.machines.operators import inbound
from tests.support.sessions.session_driver import Wire

SOURCES = {
    name: (Path(aiosmtpd_adapter.__file__).parent / name).read_text(encoding="utf-8")
    for name in ("aiosmtpd_adapter.py", "session.py")
}
USED = sorted(set(re.findall(r"smtp\.(_\w+)", SOURCES["aiosmtpd_adapter.py"])))
ASYNCIO = {"_client_connected_cb", "_strong_reader"}  # of its StreamReaderProtocol


def bare() -> SMTP:
    """A plain session of aiosmtpd; needs a running event loop."""
    return SMTP(**aiosmtpd_adapter.arguments("a.example", "ESMTP", 300))


def test_the_attributes_that_are_looked_at_are_found() -> None:
    assert {"_reader", "_writer", "_reset_timeout", "_timeout_handle", "_handler_coroutine"} == (
        set(USED) - ASYNCIO
    )


@pytest.mark.parametrize("name", [*USED, *aiosmtpd_adapter.REPLACED])
async def test_each_private_name_is_there(name: str) -> None:
    smtp = bare()
    smtp.connection_made(Wire())
    owner = "asyncio.StreamReaderProtocol" if name in ASYNCIO else "aiosmtpd.smtp.SMTP"
    assert hasattr(smtp, name), f"{owner}.{name} is gone"
    smtp.connection_lost(None)
    await asyncio.sleep(0)


async def test_connection_made_serves_in_a_task_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    served = asyncio.Event()

    async def serve(_smtp: SMTP) -> None:
        served.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(SMTP, "_handle_client", serve)
    smtp = bare()
    smtp.connection_made(Wire())
    async with asyncio.timeout(10):
        await served.wait()
    task = smtp._handler_coroutine
    assert isinstance(task, asyncio.Task), "_handler_coroutine is not the task of _handle_client"
    ended: list[object] = []
    aiosmtpd_adapter.once_over(smtp, ended.append)
    smtp.connection_lost(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert ended == [task], "connection_lost does not cancel _handler_coroutine"


async def test_reset_timeout_calls_timeout_cb(monkeypatch: pytest.MonkeyPatch) -> None:
    late = asyncio.Event()
    monkeypatch.setattr(SMTP, "_timeout_cb", lambda _smtp: late.set())
    smtp = bare()
    smtp.connection_made(Wire())
    assert smtp._timeout_handle is not None, "connection_made does not arm _timeout_handle"
    first = smtp._timeout_handle
    aiosmtpd_adapter.wait_at_most(smtp, 0.01)
    assert first.cancelled(), "_reset_timeout leaves the earlier _timeout_handle armed"
    async with asyncio.timeout(10):
        await late.wait()
    aiosmtpd_adapter.wait_at_most(smtp, 300)
    handle = smtp._timeout_handle
    aiosmtpd_adapter.stop_waiting(smtp)
    assert handle is not None
    assert handle.cancelled()
    smtp.connection_lost(None)
    await asyncio.sleep(0)


async def test_no_hook_and_no_command_of_aiosmtpd_is_found(tmp_path: Path) -> None:
    # They would keep the session in memory, and cost time in each.
    async with inbound(tmp_path) as server:
        session = peer_session(server.context)
    for name in ("_smtp_methods", "_auth_methods", "_handle_hooks"):
        assert vars(session)[name] == {}, name


def test_nothing_of_aiosmtpd_is_replaced_by_accident() -> None:
    callbacks = {"connection_made", "connection_lost", "data_received", "eof_received"}
    callbacks |= {"pause_writing", "resume_writing"}
    ours = {name for name in vars(Session) if not name.startswith("__")}
    assert ours & set(dir(SMTP)) == callbacks - {"data_received"} | {
        "data_received",
        *aiosmtpd_adapter.REPLACED,
    }


async def test_no_attribute_of_ours_is_one_of_aiosmtpd() -> None:
    set_by_us = set(re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", SOURCES["session.py"]))
    assert {"state", "policy", "journal", "transaction"} <= set_by_us
    assert set_by_us & ({*dir(SMTP)} | vars(bare()).keys()) == set()
