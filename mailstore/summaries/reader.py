"""`read_summary`: one linear reading of a message, trace fields in front."""

from typing import BinaryIO

from mailstore.summaries.model import Summary


def read_summary(body: BinaryIO, trace: bytes) -> Summary:
    """Read the summary of a message: `trace` as stored in front of it, then `body`.

    Never raises for content: a message beyond the limits is `unreadable` as a whole.  Errors of
    reading `body` pass.  Each octet is read once, in pieces; memory is bounded.
    """
    octets = len(trace)
    while piece := body.read(256 * 1024):
        octets += len(piece)
    return Summary(octets)
