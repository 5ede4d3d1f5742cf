"""Passwords of a database: every password works, in pool and listener, and none is ever shown."""

import asyncio
import traceback
from contextlib import closing
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailstore.db.database import Database
from mailstore.db.database_url import parse_url
from mailstore.errors import MailstoreError
from relay.queue.wakeup import listen
from tests.support.db.own_server import make_role, set_password
from tests.support.db.postgresql import Server

_WORD = "Pfirsich"  # part of every password, searched for in all output
_TEXTS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
    | st.sampled_from(list(" \t\n'\"\\@%:/?#&=+,[]{}$;`|~ééžї")),
    max_size=12,
)
PASSWORDS = st.builds("{}{}{}".format, _TEXTS, st.just(_WORD), _TEXTS)


@pytest.fixture(scope="module")
def role(own_server: Server) -> str:
    return make_role(own_server, _WORD)


async def heard(url: str) -> bool:
    """Whether the listener is connected."""
    woken = asyncio.Event()
    listening = asyncio.create_task(listen(parse_url(url), woken.set))
    asked = asyncio.create_task(woken.wait())
    await asyncio.wait({listening, asked}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    for task in (listening, asked):
        task.cancel()
    await asyncio.wait({listening, asked})
    return woken.is_set()


@settings(max_examples=25)
@given(password=PASSWORDS)
def test_any_password_is_taken(own_server: Server, role: str, password: str) -> None:
    set_password(own_server, role, password)
    secret = quote(password, safe="")
    for url in (
        f"postgresql://{role}:{secret}@127.0.0.1:{own_server.port}/postgres",
        f"postgresql://{role}@127.0.0.1:{own_server.port}/postgres?password={secret}",
    ):
        with closing(Database(url)) as database, database.read():
            pass
        assert asyncio.run(heard(url))


def said(url: str) -> str:
    """Collect all output about a URL that does not work, with tracebacks and logs."""
    told = ""
    try:
        with closing(Database(url)) as database, database.read():
            pass
    except MailstoreError as error:
        told = "".join(traceback.format_exception(error))
    with capture_logs() as logs:
        asyncio.run(_listen_in_vain(url))
    return f"{told}{logs}"


async def _listen_in_vain(url: str) -> None:
    try:
        async with asyncio.timeout(0.1):
            await listen(parse_url(url), lambda: None)
    except (MailstoreError, TimeoutError):
        pass


@settings(max_examples=25)
@given(password=PASSWORDS, encoded=st.booleans())
def test_no_error_tells_a_password(
    own_server: Server, role: str, password: str, *, encoded: bool
) -> None:
    set_password(own_server, role, "another")
    secret = quote(password, safe="") if encoded else password
    told = said(f"postgresql://{role}:{secret}@127.0.0.1:{own_server.port}/postgres")
    assert told
    assert _WORD not in told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://mssante:{}@db@127.0.0.1:1/mssante",
        "postgresql://mssante:1/{}@127.0.0.1:1/mssante",
        "postgresql://mssante:1?{}=x@127.0.0.1:1/mssante",
        "postgresql://mssante:{}@127.0.0.1:1/mssante?sslmode=bogus",
        "postgresql://mssante:{}@127.0.0.1:1/mssante?no_such_option=1",
        "postgresql://mssante:{}%00@127.0.0.1:1/mssante",
        "postgresql://mssante:{}@127.0.0.1:1/mssante?passfile=/nowhere",
        "postgresql://mssante:{}@:1/mssante?host=127.0.0.1:1&host=127.0.0.1:2",
        "postgres://mssante:{}@127.0.0.1:1/mssante",
    ],
)
def test_a_url_that_is_wrong_does_not_tell_its_password(url: str) -> None:
    told = said(url.format(_WORD))
    assert told
    assert _WORD not in told
