"""The octets of a message on their way into a draft."""

from pathlib import Path

import pytest

from mailstore.blobs.file_store import FileBlobStore
from relay.connection.limits import Pace, SessionLimits
from relay.server.data import OVERRUN, MessageReceiver
from relay.smtp.errors import Disconnected

LIMIT = 1000


async def test_a_message_without_end_is_cut_off(tmp_path: Path) -> None:
    # Refused for its size and read on, so that the peer gets the reply, but not for ever.
    body = MessageReceiver(
        FileBlobStore(tmp_path / "blobs").draft(), LIMIT, LIMIT, Pace(SessionLimits())
    )
    line = b"x" * 98 + b"\r\n"
    for _ in range(LIMIT * OVERRUN // len(line)):
        await body.take(line, None)
    assert body.problem is not None
    assert str(body.problem.reply).startswith("552 5.3.4 Message over the limit of 1000 octets")
    with pytest.raises(Disconnected) as cut:
        await body.take(b"x", None)
    assert cut.value.reply == body.problem.reply
    assert not list((tmp_path / "blobs" / "tmp").iterdir())
