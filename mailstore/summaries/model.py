"""The summary of a message: all that lists, searches, IMAP and JMAP need without its body.

Pure.  All of it is content, much of it health data: it is sealed wherever it is stored, and no
`repr` shows a word of it.  Texts are decoded, without lone surrogates; positions and sizes are
octets from the beginning of the message, the trace fields in front of it included.  Named tuples,
since a list makes thousands of them.
"""

from typing import Final, NamedTuple

VERSION: Final = 1
"""Version of the reader: a summary of an older one is made anew."""


def _hidden(self: object) -> str:
    return f"<{type(self).__name__}>"


class Address(NamedTuple):
    """A mailbox or the edge of a group, as in ENVELOPE (RFC 9051 §7.5.2).

    `name` is decoded; `written` is the phrase as written, when that differs (RFC 2047).  A group
    begins with its name in `mailbox` and no `host`, and ends with neither; an address without a
    domain has an empty `host`.
    """

    name: str
    mailbox: str | None
    host: str | None
    written: str = ""

    @property
    def spec(self) -> str:
        """`local@domain`, or the local part alone; empty for the edge of a group."""
        if self.host is None:
            return ""
        return f"{self.mailbox}@{self.host}" if self.host else self.mailbox or ""

    def __repr__(self) -> str:
        return _hidden(self)


Addresses = tuple[Address, ...]


class Envelope(NamedTuple):
    """The fields of ENVELOPE (RFC 9051 §7.5.2): `authors` is From; Sender, Reply-To as they are.

    The door repeats From for these two if empty, as IMAP demands, not JMAP.  `sent_at` is Date in
    seconds since 1970, `date` as written.  `written_subject` is Subject as written, unfolded, when
    that differs from the decoded `subject`.
    """

    date: str = ""
    sent_at: int | None = None
    subject: str = ""
    written_subject: str = ""
    authors: Addresses = ()
    sender: Addresses = ()
    reply_to: Addresses = ()
    to: Addresses = ()
    cc: Addresses = ()
    bcc: Addresses = ()
    in_reply_to: str = ""
    message_id: str = ""

    def __repr__(self) -> str:
        return _hidden(self)


class Part(NamedTuple):
    """A body part with the facts of BODYSTRUCTURE (RFC 9051 §7.5.2) and its place.

    Its header is `header` to `body`, its content `body` to `end`, the message's own part included.
    Types, names of parameters, encoding and disposition are in lower case; values of parameters are
    decoded (RFC 2231).  `lines` counts line ends, for text and messages alone.  A message part has
    one child and an envelope, unless an encoding hides them; a multipart has at least one child.
    """

    type: str
    subtype: str
    header: int
    body: int
    end: int
    lines: int = 0
    params: tuple[tuple[str, str], ...] = ()
    content_id: str = ""
    description: str = ""
    encoding: str = "7bit"
    md5: str = ""
    disposition: str = ""
    disposition_params: tuple[tuple[str, str], ...] = ()
    language: tuple[str, ...] = ()
    location: str = ""
    envelope: Envelope | None = None
    children: tuple["Part", ...] = ()

    @property
    def octets(self) -> int:
        """Size of the content as sent, without decoding."""
        return self.end - self.body

    def __repr__(self) -> str:
        return _hidden(self)


class Attachment(NamedTuple):
    """A part that lists show: its decoded name (maybe empty), its type, its octets as sent."""

    name: str
    type: str
    octets: int

    def __repr__(self) -> str:
        return _hidden(self)


class ThreadKeys(NamedTuple):
    """The message's own id and those before it, without angle brackets; RFC 5256 §2.1 subject.

    `references` has References in their order, then In-Reply-To's that are not among them.
    """

    message_id: str = ""
    references: tuple[str, ...] = ()
    base_subject: str = ""

    def __repr__(self) -> str:
        return _hidden(self)


class Receipt(NamedTuple):
    """An MDN (RFC 8098): `disposition` such as `processed`; a failed integration has its code.

    `error` is None without an error; an error without a number has code 906, "other" (DOMAIN §7.3).
    """

    disposition: str
    original: str = ""
    error: int | None = None
    error_text: str = ""

    def __repr__(self) -> str:
        return _hidden(self)


class DeliveryReport(NamedTuple):
    """A DSN (RFC 3464): the worst action of its recipients, with status; the original's id."""

    action: str
    status: str = ""
    original: str = ""

    def __repr__(self) -> str:
        return _hidden(self)


class ClinicalFacts(NamedTuple):
    """Facts for search and figures, recognised without opening an archive (DOMAIN §7).

    `xdm`: an `IHE_XDM.zip` is attached.  `xdm_subject`: the subject's text behind `XDM/1.0/DDM+`.
    `codes`: X-MSS-CODECDA with labels, empty for codes that the value set lacks.  `ins_qualified`:
    X-MSS-INS.  `product`: X-MSS-NIL.  `closing`: X-MSS-MES FIN, or the subject `[FIN]`.
    `integration_error`: the code of a failed integration, from the MDN or the subject.
    """

    xdm: bool = False
    xdm_subject: str = ""
    codes: tuple[tuple[str, str], ...] = ()
    ins_qualified: bool | None = None
    product: str = ""
    closing: bool = False
    asks_receipt: bool = False
    receipt: Receipt | None = None
    delivery_report: DeliveryReport | None = None
    integration_error: int | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The message's classes, for search and figures; empty for ordinary mail."""
        found = {
            "xdm": self.xdm,
            "xdm-subject": bool(self.xdm_subject) and self.integration_error is None,
            "closing": self.closing,
            "receipt": self.receipt is not None,
            "integration-error": self.integration_error is not None,
            "delivery-report": self.delivery_report is not None,
        }
        return tuple(name for name, holds in found.items() if holds)

    def __repr__(self) -> str:
        return _hidden(self)


class Summary(NamedTuple):
    """All of a message that is read once.

    `unreadable`: the message exceeds a limit of the reader (`limits.py`); only `octets` is known.
    `fields` are further header fields that lists need, names in lower case, in their order.
    `preview` is up to 256 characters of text (RFC 8970).  `structure` is None in a summary that was
    read for a list alone.
    """

    octets: int
    unreadable: bool = False
    envelope: Envelope = Envelope()
    fields: tuple[tuple[str, str], ...] = ()
    preview: str = ""
    attachments: tuple[Attachment, ...] = ()
    thread: ThreadKeys = ThreadKeys()
    clinical: ClinicalFacts = ClinicalFacts()
    structure: Part | None = None

    def __repr__(self) -> str:
        return f"<Summary of {self.octets} octets{', unreadable' if self.unreadable else ''}>"
