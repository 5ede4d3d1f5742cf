"""Tables of the configuration file: each key with its meaning, default and bounds.

The descriptions are the documentation: `mssante config reference` prints them.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.functional_validators import AfterValidator

from relay.policy.header_from import HeaderFromPolicy
from relay.policy.tls import DEFAULT_GROUPS, DEFAULT_SUITES, check_group, check_suites
from relay.scan.on_failure import OnFailure
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.distinguished_name import DistinguishedName

from .base import Amount, Count, Hours, Seconds, Section
from .endpoints import CommonName, Endpoint, split_endpoint
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
        description="Our host name in the SMTP greeting, in EHLO and in Received fields.",
        examples=["smtp.a.mssante.fr"],
    )
    postmaster: str = Field(
        "",
        pattern=r"^$|^[^@\s]+@[^@\s]+$",
        json_schema_extra={"form": "a mailbox: name@domain"},
        description="Mailbox for mail to postmaster, at each of our domains and without a "
        "domain (RFC 5321 §4.5.1). Empty: only a mailbox with the name postmaster gets such "
        "mail.",
        examples=["exploitation@a.mssante.fr"],
    )


class TlsSection(Section):
    """Our certificate, shown to peers in both directions."""

    certificate: str = Field(
        description="PEM file: our IGC-Santé server certificate, then its intermediate "
        "certificate.",
        examples=["pki/server.pem"],
    )
    key: str = Field(
        description="PEM file: private key of this certificate, not encrypted.",
        examples=["pki/server.key"],
    )
    suites: Suites = Field(
        DEFAULT_SUITES,
        description="Cipher suites of TLS 1.2, in OpenSSL's syntax. All suites of TLS 1.3 are "
        "allowed.",
    )
    groups: list[Group] = Field(
        default_factory=lambda: list(DEFAULT_GROUPS),
        min_length=1,
        description="Key exchange groups, by OpenSSL's names, in order of preference.",
    )


class WhiteListSection(Section):
    """The national white list.  Set a URL, or a file or folder, or both."""

    url: str = Field(
        "",
        pattern=r"^$|^https://[^/@?#\s]+(/\S*)?$",
        json_schema_extra={"form": "a URL: https://HOST/PATH"},
        description="HTTPS address of the list. Its server must have a certificate of the "
        "authorities in [trust]. National: "
        "https://espacedeconfiance.mssante.fr/listeblanchemssante.xml",
    )
    file: str = Field(
        "",
        description="Local file, or folder (its newest *.xml is read). Used if url is empty or "
        "unreachable.",
        examples=["whitelist/listeblanchemssante.xml"],
    )
    signer: str = Field(
        "alb.mssante.fr",
        pattern=r"^[!-~]([ -~]*[!-~])?$",
        description="Common name (CN) of the certificate that signs the list, in its exact "
        "spelling.",
    )
    signer_dn: str = Field(
        "",
        description="Full name (DN) of this certificate, as RFC 4514 text, for a stricter "
        "check. Empty: only the common name is checked.",
        examples=["CN=alb.mssante.fr,OU=347976684200724,O=…,ST=Hauts-de-Seine (92),C=FR"],
    )
    signer_policy: str = Field(
        "",
        pattern=r"^$|^[0-2](\.[0-9]+)+$",
        description="Policy OID that this certificate must have, for example the OID of its "
        "IGC-Santé product (1.2.250.1.213.1.7.1.1.2.3.1 in 2023). Empty: no check.",
    )
    loose_department: bool = Field(
        default=False,
        description="true: `Paris (75)` and `Paris(75)` in the ST of a certificate are the same "
        "name. Usually not needed: an operator that uses both spellings has both on the list.",
    )
    refresh_seconds: Seconds = Field(3600.0, description="Time between two checks of the source.")
    check_seconds: Seconds = Field(
        0.5,
        description="Time between two looks for a newly adopted list or a new file, in each "
        "process.",
    )
    fetch_timeout_seconds: Seconds = Field(60.0, description="Timeout of a download from url.")
    max_shrink: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest share of the domains that may vanish or change their certificate "
        "names at once (0.2: 20 %). A list with more changes waits for: mssante whitelist "
        "refresh --accept-shrink",
    )
    stale_hours: Hours = Field(
        24.0, description="Hours without a successful check before an alarm."
    )
    expired_hours: Hours = Field(
        168.0,
        description="Hours without a successful check before mail stops: inbound mail gets 451 "
        "4.7.1, the queue waits.",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not self.url and not self.file:
            raise ValueError("no source for the list; set url or file")
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
        description="Listening addresses, HOST:PORT. Port between operators: 25.",
    )
    max_message_bytes: Count = Field(
        36_700_160,
        description="Largest message, in octets on the wire: 35 MB hold 25 MB of content. Limit "
        "for reports (DSN, MDN, integration error): 1.4 times as much, as SIZE in EHLO shows.",
    )
    max_connections: Count = Field(
        500, description="Connections at the same time, for each worker process."
    )
    max_connections_per_address: Count = Field(
        100, description="Same limit for one address (IPv6: one /64)."
    )
    max_connections_per_peer: Count = Field(
        100, description="Same limit for one certificate name (DN), counted after STARTTLS."
    )
    max_messages: Count = Field(1000, description="Messages in one connection (RFC 9422 MAILMAX).")
    max_recipients: Count = Field(1000, description="Recipients of one message (RFC 9422 RCPTMAX).")
    max_errors: Count = Field(
        20,
        description="Errors since the last accepted message, after which the connection is "
        "closed. Refused recipients do not count.",
    )
    max_commands: Count = Field(
        5000,
        description="Commands since the last accepted message, after which the connection is "
        "closed. Chunks of one kilobyte or more do not count.",
    )
    max_header_bytes: Count = Field(
        262_144, description="Size of a message's header section, in octets."
    )
    max_header_fields: Count = Field(
        1000, description="Number of fields in a message's header section."
    )
    max_received: Count = Field(
        100,
        description="Number of Received fields above which a message is refused as a mail loop "
        "(RFC 5321 §6.3).",
    )
    stranger_seconds: Seconds = Field(
        60.0,
        description="Total time of a connection that has not shown a certificate of the white "
        "list. If all places are taken, the oldest of these connections is closed for a new "
        "one.",
    )
    greeting_seconds: Seconds = Field(60.0, description="Total time until STARTTLS.")
    handshake_seconds: Seconds = Field(30.0, description="Timeout of a TLS handshake.")
    idle_seconds: Seconds = Field(
        300.0,
        description="Time to wait for a complete command; then 421, and the connection is closed.",
    )
    data_idle_seconds: Seconds = Field(
        180.0, description="Silence within a message after which the connection is closed."
    )
    min_rate: Amount = Field(
        5000,
        description="Lowest speed of a message, in octets per second, checked after "
        "rate_grace_seconds. 0: no limit.",
    )
    rate_grace_seconds: Seconds = Field(
        60.0, description="Time of a message before min_rate is checked."
    )
    header_from: HeaderFromPolicy = Field(
        HeaderFromPolicy.TAG,
        strict=False,
        description="Check of the domain in header From against the domains of the peer's "
        'certificate. If it is not one of them: "refuse" the message, or "tag" it (log '
        'only). "off": no check.',
    )
    own_header_from: HeaderFromPolicy = Field(
        HeaderFromPolicy.REFUSE,
        strict=False,
        description="Same check for our own domains in header From, also in its display name: "
        "peers must not write in the name of our users.",
    )
    own_header_from_peers: list[CommonName] = Field(
        default_factory=list,
        description="CNs of peers without the check of own_header_from, because they forward "
        "mail of our users to mailboxes here.",
        examples=[["smtp.c.mssante.fr"]],
    )
    quotas: PeerQuotas = QUOTAS


class AdminSection(Section):
    """Health and metrics over HTTP; keep it off public networks."""

    listen: Endpoint = Field(
        "127.0.0.1:9180", description="Address of /healthz, /readyz and /metrics."
    )


class ProcessSection(Section):
    """The daemon's processes."""

    workers: Annotated[int, Field(ge=0, le=512)] = Field(
        0, description="Worker processes for inbound mail. 0: one for each processor core."
    )
    stop_seconds: Seconds = Field(
        30.0, description="Time for running transactions to end when the daemon stops."
    )
    silent_seconds: Annotated[float, Field(ge=2, le=86_400, allow_inf_nan=False)] = Field(
        30.0,
        description="Time without an answer to the supervisor after which a process is killed "
        "and replaced, and its stack is logged. Below 10: for tests only.",
    )


class TraceSection(Section):
    """Journal of every session and decision, searched by `mssante trace`."""

    keep_days: Count = Field(
        200,
        le=36_500,
        description="Days that the journal is kept. Health mail needs six months or more.",
    )


class ScanSection(Section):
    """Scanners of each message, before it is accepted.  Without an address: no scanner."""

    clamav: ScannerEndpoint = Field(
        "",
        description="Address of ClamAV (clamd): HOST:PORT or unix:/PATH.",
        examples=["unix:/run/clamav/clamd.ctl"],
    )
    rspamd: str = Field(
        "",
        pattern=r"^$|^https?://[^/@?#\s]+(/\S*)?$",
        json_schema_extra={"form": "a URL: http://HOST:PORT"},
        description="URL of rspamd (its normal worker).",
        examples=["http://127.0.0.1:11333"],
    )
    timeout_seconds: Seconds = Field(60.0, description="Timeout of a scanner.")
    on_failure: OnFailure = Field(
        OnFailure.DEFER,
        strict=False,
        description='If a scanner does not answer: "defer" messages with 451 4.7.1, or "accept" '
        "them without a scan.",
    )


class LogSection(Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is written."
    )
    format: Literal["json", "console"] = Field(
        "json", description='"json": one object per line. "console": for reading.'
    )
