"""Reading of summaries: `python -m tests.bench.mailstore.summaries`.

Messages a second of a short text, of a text with HTML, and with an attachment; then the octets of a
summary and the time to have it back, for lists alone and whole.
"""

import base64
import io
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from mailstore.summaries.form import from_octets, to_octets
from mailstore.summaries.model import Summary
from mailstore.summaries.reader import read_summary

_SECONDS: Final = 1.0
_HEADER: Final = (
    "Received: from smtp.b.mssante.fr ([192.0.2.1])\r\n by smtp.a.mssante.fr with ESMTPS id x;\r\n"
    " Mon, 30 Nov 2026 10:00:00 +0100\r\n"
    "From: =?utf-8?q?Dr_Ren=C3=A9e?= DUPONT <renee.dupont@b.mssante.fr>\r\n"
    "To: Cabinet <cabinet@a.mssante.fr>, secretariat@a.mssante.fr\r\n"
    "Subject: XDM/1.0/DDM+Compte rendu PAT-TROIS DOMINIQUE 28/03/1979\r\n"
    "Date: Mon, 30 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@b.mssante.fr>\r\n"
    "References: <0@b.mssante.fr>\r\nX-MSS-INS: O\r\nX-MSS-NIL: DEV1\r\nMIME-Version: 1.0\r\n"
)
_TEXT: Final = "Veuillez trouver ci-joint le compte rendu de la consultation.\r\n"


def _plain(size: int) -> bytes:
    text = _TEXT * (max(size - 900, 0) // len(_TEXT) + 1)
    return f"{_HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}".encode()


def _mixed(size: int) -> bytes:
    octets = base64.encodebytes(bytes(range(256)) * (size * 3 // 4 // 256)).replace(b"\n", b"\r\n")
    text = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{_TEXT}"
    archive = (
        "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="IHE_XDM.zip"\r\n\r\n{octets.decode()}'
    )
    body = "".join(f"--=_b\r\n{part}\r\n" for part in (text, archive))
    head = f'{_HEADER}Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
    return f"{head}{body}--=_b--\r\n".encode()


MESSAGES: Final = {
    "2 kB text": _plain(2_000),
    "50 kB text": _plain(50_000),
    "50 kB with attachment": _mixed(50_000),
    "1 MB with attachment": _mixed(1_000_000),
    "25 MB with attachment": _mixed(25_000_000),
}


def microseconds(work: Callable[[], object]) -> float:
    """Time of a call, the best of rounds within a second."""
    best, until = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best * 1e6


def _read(octets: bytes) -> Summary:
    return read_summary(io.BytesIO(octets), b"")


def main() -> None:
    """Print a line for each message."""
    for name, octets in MESSAGES.items():
        sealed = to_octets(_read(octets))
        taken = microseconds(partial(_read, octets))
        listed = microseconds(partial(from_octets, sealed, structure=False))
        whole = microseconds(partial(from_octets, sealed))
        print(
            f"{name}: {taken:.0f} µs, {1e6 / taken:.0f}/s, {len(octets) / taken:.0f} MB/s; "
            f"summary {len(sealed)} octets, read back {listed:.1f} µs for lists, {whole:.1f} whole"
        )


if __name__ == "__main__":
    main()
