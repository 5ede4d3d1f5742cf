"""Messages for tests of summaries: made here, and real ones beside the checkout, if present."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mailstore.summaries.model import Part, Summary
from mailstore.summaries.reader import read_summary

DATA: Final = Path(__file__).parents[3] / "shared" / "data"
CORPUS: Final = DATA / "mime" / "mail-parser"

needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason=f"the messages of mail-parser are not at {CORPUS}"
)
needs_clinical_data = pytest.mark.skipif(
    not (DATA / "derived").is_dir(), reason=f"the clinical messages are not at {DATA / 'derived'}"
)


def summary_of(message: bytes | str, trace: bytes = b"") -> Summary:
    """The summary of a message; a text gets CRLF for its line ends."""
    if isinstance(message, str):
        message = message.replace("\n", "\r\n").encode()
    return read_summary(io.BytesIO(message), trace)


def structure_of(message: bytes | str) -> Part:
    structure = summary_of(message).structure
    assert structure is not None
    return structure


def parts_of(part: Part) -> Iterator[Part]:
    """A part and all below it, in their order."""
    yield part
    for child in part.children:
        yield from parts_of(child)


def with_crlf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def corpus() -> list[Path]:
    """Messages of the corpus and of the clinical data."""
    return sorted([*CORPUS.glob("**/*.eml"), *(DATA / "derived").glob("*.eml")])
