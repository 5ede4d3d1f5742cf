"""Tables of the configuration file: each key with its meaning, default and bounds.

The descriptions are the documentation: `mssante config reference` prints them.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.functional_validators import AfterValidator

from relay.policy import patients
from relay.policy.admission import HeaderFromPolicy
from relay.policy.tls import DEFAULT_GROUPS, DEFAULT_SUITES, check_group, check_suites
from relay.scan.scanner import OnFailure
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.distinguished_name import DistinguishedName

from .base import Amount, Count, Hours, Seconds, Section
from .endpoints import CommonName, DomainRoutes, Endpoint, OperatorRoutes, split_endpoint
from .quotas import QUOTAS, PeerQuotas


def _check_scanner(text: str) -> str:
    if text and not text.startswith("unix:/"):
        split_endpoint(text)
    return text


def _check_suites(text: str) -> str:
    check_suites(text)
    return text


def _check_group(text: str) -> str:
    check_group(text)
    return text


Suites = Annotated[str, AfterValidator(_check_suites)]
Group = Annotated[str, AfterValidator(_check_group)]
ScannerEndpoint = Annotated[str, AfterValidator(_check_scanner)]


class OperatorSection(Section):
    """Identity of this operator."""

    hostname: str = Field(
        min_length=1,
        pattern=r"^[A-Za-z0-9.-]+$",
        json_schema_extra={"form": "a host name of ASCII letters, digits, dots and hyphens"},
        description="Name in the SMTP greeting, EHLO and Received fields.",
        examples=["smtp.a.mssante.fr"],
    )
    postmaster: str = Field(
        "",
        pattern=r"^$|^[^@\s]+@[^@\s]+$",
        json_schema_extra={"form": "a mailbox: name@domain"},
        description="Mailbox here that mail for postmaster goes to, at each of our domains and "
        "without a domain (RFC 5321 §4.5.1). Empty: only a mailbox of that very name has it.",
        examples=["exploitation@a.mssante.fr"],
    )


class TlsSection(Section):
    """Our certificate, shown to peers in both directions."""

    certificate: str = Field(
        description="PEM file: our IGC-Santé server certificate, then its intermediate.",
        examples=["pki/server.pem"],
    )
    key: str = Field(
        description="PEM file: its private key, not encrypted.", examples=["pki/server.key"]
    )
    suites: Suites = Field(
        DEFAULT_SUITES,
        description="Cipher suites of TLS 1.2 in OpenSSL's syntax; those of TLS 1.3 are all on.",
    )
    groups: list[Group] = Field(
        default_factory=lambda: list(DEFAULT_GROUPS),
        min_length=1,
        description="Groups for the key exchange in OpenSSL's names, the preferred first.",
    )


class WhiteListSection(Section):
    """The national white list.  Give a URL, or a file or folder where it is put, or both."""

    url: str = Field(
        "",
        pattern=r"^$|^https://[^/@?#\s]+(/\S*)?$",
        json_schema_extra={"form": "a URL: https://HOST/PATH"},
        description="Where it is fetched, over HTTPS and by the authorities of [trust] alone. "
        "National: https://espacedeconfiance.mssante.fr/listeblanchemssante.xml",
    )
    file: str = Field(
        "",
        description="A file, or a folder in which the newest *.xml counts; used when the URL "
        "is empty or cannot be reached.",
        examples=["whitelist/listeblanchemssante.xml"],
    )
    signer: str = Field(
        "alb.mssante.fr",
        pattern=r"^[!-~]([ -~]*[!-~])?$",
        description="Common name of the certificate that must have signed it, letter by letter.",
    )
    signer_dn: str = Field(
        "",
        description="The whole name of that certificate, as RFC 4514 text, if it is to be compared "
        "too; empty: the common name is enough.",
        examples=["CN=alb.mssante.fr,OU=347976684200724,O=…,ST=Hauts-de-Seine (92),C=FR"],
    )
    signer_policy: str = Field(
        "",
        pattern=r"^$|^[0-2](\.[0-9]+)+$",
        description="A policy OID that this certificate must have, such as that of its product at "
        "IGC-Santé (1.2.250.1.213.1.7.1.1.2.3.1 in 2023); empty: any.",
    )
    loose_department: bool = Field(
        default=False,
        description="Whether `Paris (75)` and `Paris(75)` in a certificate's ST are one name; "
        "operators list both spellings themselves where they use both.",
    )
    refresh_seconds: Seconds = Field(3600.0, description="How often it is fetched or read again.")
    check_seconds: Seconds = Field(
        0.5, description="How often processes look for a list adopted, and for a new file."
    )
    fetch_timeout_seconds: Seconds = Field(60.0, description="Time for one answer of the URL.")
    max_shrink: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the domains that may vanish or change their certificate names at "
        "once; a list that changes more waits for: mssante whitelist refresh --accept-shrink",
    )
    stale_hours: Hours = Field(
        24.0, description="Time without a successful check after which there is an alarm."
    )
    expired_hours: Hours = Field(
        168.0,
        description="Time without a successful check after which nothing is relayed: 451 4.7.1, "
        "and the queue is held.",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not self.url and not self.file:
            raise ValueError("give url or file: without either there is never a list")
        self.expected_signer  # noqa: B018 - raises ValueError for a name that cannot be
        return self

    @property
    def expected_signer(self) -> ExpectedSigner:
        """Expected signer of the list.  Raises ValueError for an invalid DN."""
        name = DistinguishedName.parse(self.signer_dn) if self.signer_dn else None
        return ExpectedSigner(self.signer, name, self.signer_policy)


class InboundSection(Section):
    """Mail from other operators."""

    listen: list[Endpoint] = Field(
        default_factory=lambda: ["127.0.0.1:2525"],
        min_length=1,
        description="Addresses to listen on, HOST:PORT; operators use port 25.",
    )
    max_message_bytes: Count = Field(
        36_700_160,
        description="Largest message in octets on the wire; 35 MB carry 25 MB of content. A report "
        "(DSN, MDN, integration error) may have 1.4 times as much: SIZE in EHLO says that.",
    )
    max_connections: Count = Field(500, description="Connections at once, for each worker process.")
    max_connections_per_address: Count = Field(
        100, description="The same from one address (IPv6: one /64)."
    )
    max_connections_per_peer: Count = Field(
        100, description="The same of one certificate name (DN), counted once TLS is on."
    )
    max_messages: Count = Field(1000, description="Messages of one connection (RFC 9422 MAILMAX).")
    max_recipients: Count = Field(1000, description="Recipients of one message (RFC 9422 RCPTMAX).")
    max_errors: Count = Field(
        20,
        description="Errors since the last message accepted, after which a connection is ended; "
        "recipients refused do not count.",
    )
    max_commands: Count = Field(
        5000,
        description="Commands since the last message accepted, after which a connection is ended; "
        "chunks of a kilobyte or more do not count.",
    )
    max_header_bytes: Count = Field(262_144, description="Octets of a message's header section.")
    max_header_fields: Count = Field(1000, description="Fields of a message's header section.")
    max_received: Count = Field(
        100, description="Received fields beyond which a message loops (RFC 5321 §6.3)."
    )
    stranger_seconds: Seconds = Field(
        60.0,
        description="Time for a connection in all, until it has shown a certificate of the white "
        "list; where all places are taken, the oldest of these is given up for a new one.",
    )
    greeting_seconds: Seconds = Field(60.0, description="Time until STARTTLS, in all.")
    handshake_seconds: Seconds = Field(30.0, description="Time for a TLS handshake.")
    idle_seconds: Seconds = Field(
        300.0, description="Time for the next command to arrive whole; after it a 421."
    )
    data_idle_seconds: Seconds = Field(
        180.0, description="Silence in the middle of a message after which a connection is ended."
    )
    min_rate: Amount = Field(
        5000,
        description="Octets a second that a peer must keep up over a message, once it has taken "
        "rate_grace_seconds; 0: any.",
    )
    rate_grace_seconds: Seconds = Field(60.0, description="Time before min_rate is looked at.")
    header_from: HeaderFromPolicy = Field(
        HeaderFromPolicy.TAG,
        strict=False,
        description="A header From whose domain is not listed with the peer's certificate: "
        '"refuse" it, "tag" it in the log only, or "off".',
    )
    own_header_from: HeaderFromPolicy = Field(
        HeaderFromPolicy.REFUSE,
        strict=False,
        description="The same where that domain is served here, or a name in it shows one: nobody "
        "else is to write in the name of our users.",
    )
    own_header_from_peers: list[CommonName] = Field(
        default_factory=list,
        description="CNs of peers that may all the same, since they forward mail of our users to "
        "mailboxes here.",
        examples=[["smtp.c.mssante.fr"]],
    )
    quotas: PeerQuotas = QUOTAS


class OutboundSection(Section):
    """Mail to other operators."""

    concurrency: Count = Field(100, description="Deliveries at once.")
    destination_concurrency: Count = Field(
        20, description="Deliveries at once to one destination, once it has proved well."
    )
    destination_concurrency_first: Count = Field(
        5, description="The same as long as nothing is known of it."
    )
    probe_first_seconds: Seconds = Field(
        60.0,
        description="Wait before one delivery is tried to a destination of which no host could be "
        "spoken to; doubled up to probe_longest_seconds while that goes on.",
    )
    probe_longest_seconds: Seconds = Field(600.0, description="Longest wait between these.")
    retry_first_seconds: Seconds = Field(60.0, description="Wait after the first failed attempt.")
    retry_longest_seconds: Seconds = Field(3600.0, description="Longest wait between attempts.")
    life_hours: Hours = Field(120.0, description="Time after which a message is given up.")
    failed_days: Count = Field(
        30,
        le=36_500,
        description="Days that a message which failed stays in the queue, to be seen and tried "
        "again by hand; its sender was told when it failed.",
    )
    delay_warning_hours: Hours = Field(
        4.0, description="Time after which the sender of a message is told that it still waits."
    )
    unknown_outcome_tries: Count = Field(
        4,
        le=100,
        description="Times that a message is sent to its end without a usable answer, 15 minutes, "
        "1 hour, then 4 hours apart, before it is given up: each may be one more copy. Its sender "
        "is told to ask the recipient.",
    )
    stuck_seconds: Seconds = Field(
        1800.0,
        description="Time without progress after which an attempt is broken off; a slow peer may "
        "take 25 minutes until the first recipient is answered (RFC 5321 §4.5.3.2).",
    )
    poll_seconds: Seconds = Field(
        2.0,
        description="How often the queue is looked at for mail whose time has come; new mail "
        "leaves at once.",
    )
    patient_max_bytes: Count = Field(
        patients.MAX_BYTES,
        description="Largest message to patient.mssante.fr that is taken from our users: octets.",
    )
    patient_max_counts: patients.Counted = Field(
        patients.Counted.CONTENT,
        strict=False,
        description='What patient_max_bytes counts: "content", the message with its attachments '
        'decoded, as Mon espace santé does, or "wire", what is sent, a third more.',
    )
    patient_ins_key: bool = Field(
        default=True,
        description="Whether the key, the last two digits of the INS in an address at "
        "patient.mssante.fr, must be right. False for tests: some examples of ANS have it wrong.",
    )
    dns_servers: list[str] = Field(
        default_factory=list,
        description="Addresses of DNS servers; empty: those of the system.",
    )
    dns_timeout_seconds: Seconds = Field(
        10.0, description="Time for a question to DNS, over all servers and tries."
    )
    routes: DomainRoutes = Field(
        default_factory=dict,
        description="Hosts that override DNS, by recipient domain: DOMAIN = HOST:PORT, or a list "
        "of them in the order to try. Their certificate is checked all the same.",
        examples=[{"b.mssante.fr": "127.0.0.1:2526"}],
    )
    operator_routes: OperatorRoutes = Field(
        default_factory=dict,
        description="The same for every domain that the white list ties to a certificate with this "
        "CN, unless the domain has a route: CN = HOST:PORT, or a list.",
        examples=[{"smtp.c.mssante.fr": ["192.0.2.7:25", "192.0.2.8:25"]}],
    )


class AdminSection(Section):
    """Health and metrics over HTTP; keep it off public networks."""

    listen: Endpoint = Field("127.0.0.1:9180", description="/healthz, /readyz and /metrics.")


class ProcessSection(Section):
    """The daemon's processes."""

    workers: Annotated[int, Field(ge=0, le=512)] = Field(
        0, description="Worker processes for inbound mail; 0: one for each processor core."
    )
    stop_seconds: Seconds = Field(
        30.0, description="Time for transactions under way to finish when stopping."
    )
    silent_seconds: Annotated[float, Field(ge=2, le=86_400, allow_inf_nan=False)] = Field(
        30.0,
        description="Time for which a process may leave the supervisor without an answer; then its "
        "stack is logged, and it is killed and replaced. Less than 10 is for tests.",
    )


class TraceSection(Section):
    """Journal of every session and decision, searched by `mssante trace`."""

    keep_days: Count = Field(
        200,
        le=36_500,
        description="Days that it is kept; health mail asks for six months and more.",
    )


class ScanSection(Section):
    """Scanners that see each message before it is accepted; off unless named."""

    clamav: ScannerEndpoint = Field(
        "",
        description="ClamAV's clamd: HOST:PORT or unix:/PATH.",
        examples=["unix:/run/clamav/clamd.ctl"],
    )
    rspamd: str = Field(
        "",
        pattern=r"^$|^https?://[^/@?#\s]+(/\S*)?$",
        json_schema_extra={"form": "a URL: http://HOST:PORT"},
        description="rspamd's normal worker: its URL.",
        examples=["http://127.0.0.1:11333"],
    )
    timeout_seconds: Seconds = Field(60.0, description="Time for a scanner's answer.")
    on_failure: OnFailure = Field(
        OnFailure.DEFER,
        strict=False,
        description="While a scanner cannot answer: "
        '"defer" messages with 451 4.7.1, or "accept" them unseen.',
    )


class LogSection(Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written."
    )
    format: Literal["json", "console"] = Field(
        "json", description='"json": one object a line; "console": for reading.'
    )
