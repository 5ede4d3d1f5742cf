"""The size of a decoded message: base64 counts as the octets that it stands for.

Mon espace santé takes 25 MB of content (DOMAIN §7.4, §7.5), about 35 MB on the wire.
Octets in, a number out; at most one line and the header of one part are held in memory.
Unreadable parts count undecoded: the number is never smaller than the content a reader decodes.
"""

import binascii
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Final

_MAX_HEADER: Final = 64 * 1024  # octets read of the header of one part
_MAX_DEPTH: Final = 100  # nested multiparts; deeper parts count undecoded
_MAX_LINE: Final = 2000  # octets of a line held back until its end comes
_NESTED: Final = frozenset({"message/rfc822", "message/global"})


class ContentSize:
    """Counts the content as the message streams by; line ends are CRLF."""

    def __init__(self) -> None:
        self._octets = 0
        self._base64 = 0  # three for each character: four characters make three octets
        self._held = b""
        self._header: bytearray | None = bytearray()  # None in a body
        self._boundaries: list[bytes] = []
        self._encoding = ""

    def feed(self, octets: bytes) -> None:
        """Take the next octets of the message."""
        lines = (self._held + octets).split(b"\n")
        self._held = lines.pop()
        for line in lines:
            self._take(line + b"\n")
        if len(self._held) > _MAX_LINE:
            self._take(self._held)
            self._held = b""

    def finish(self) -> None:
        """Count the last line, which may have no line end."""
        self._take(self._held)
        self._held = b""

    @property
    def octets(self) -> int:
        """The size of the content so far, in whole lines."""
        return self._octets + -(-self._base64 // 4)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"--") and self._at_boundary(line.rstrip()):
            self._octets += len(line)
        elif self._header is None:
            self._take_body(line)
        else:
            self._octets += len(line)
            if line.strip(b"\r\n"):
                self._header += line[: _MAX_HEADER - len(self._header)]
            else:
                self._begin_body(BytesHeaderParser().parsebytes(bytes(self._header)))

    def _take_body(self, line: bytes) -> None:
        if self._encoding == "base64":
            letters = line.strip()
            self._base64 += 3 * len(letters) - 4 * letters[-2:].count(b"=")
        elif self._encoding == "quoted-printable":
            self._octets += len(binascii.a2b_qp(line))
        else:
            self._octets += len(line)

    def _at_boundary(self, line: bytes) -> bool:
        for depth, boundary in reversed(list(enumerate(self._boundaries))):
            if line == boundary:
                del self._boundaries[depth + 1 :]
                self._header, self._encoding = bytearray(), ""
                return True
            if line == boundary + b"--":
                del self._boundaries[depth:]
                self._header, self._encoding = None, ""
                return True
        return False

    def _begin_body(self, header: Message) -> None:
        self._header, self._encoding = None, ""
        boundary = header.get_boundary()
        if header.get_content_maintype() == "multipart":
            if boundary and len(self._boundaries) < _MAX_DEPTH:
                self._boundaries.append(b"--" + boundary.encode("utf-8", "replace"))
        elif header.get_content_type() in _NESTED:
            self._header = bytearray()
        else:
            self._encoding = str(header.get("content-transfer-encoding", "")).strip().lower()
