"""The configuration: one TOML file, read once into a frozen model.

Unknown keys are refused, every error names file, key and fix, relative paths start from the file's
own folder.  The descriptions here are the documentation: `mssante config reference` prints them,
and config/mssante.example.toml is that very text.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import ErrorDetails

from relay.admission import HeaderFromPolicy
from whitelist.revocation import RevocationPolicy

DEFAULT_FILES: Final = (Path("mssante.toml"), Path("/etc/mssante/mssante.toml"))


class SettingsError(Exception):
    """A configuration that cannot be used; the message names file, key and fix."""


def split_endpoint(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT`.  Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:2525")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address goes in brackets, for example [::1]:2525")
    return host.strip("[]"), int(port)


def _check_endpoint(text: str) -> str:
    split_endpoint(text)
    return text


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A table of the file: strict, frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Operator(Section):
    """Who we are."""

    hostname: str = Field(
        min_length=1,
        pattern=r"^[A-Za-z0-9.-]+$",
        description="Name in the SMTP greeting, EHLO and Received fields.",
        examples=["smtp.a.mssante.fr"],
    )


class Storage(Section):
    """Where messages are kept."""

    directory: str = Field(
        description="Folder of bodies, of the default database and of run-time files.",
        examples=["data"],
    )
    database: str = Field(
        "",
        description="URL of the database; empty: SQLite in the folder above. "
        "PostgreSQL: postgresql://USER:PASSWORD@HOST/NAME.",
    )


class Tls(Section):
    """Our certificate, shown to peers in both directions."""

    certificate: str = Field(
        description="PEM file: our IGC-Santé server certificate, then its intermediate.",
        examples=["pki/server.pem"],
    )
    key: str = Field(
        description="PEM file: its private key, not encrypted.", examples=["pki/server.key"]
    )


class Trust(Section):
    """The authorities that peers and the list's signer must chain to; no others are believed."""

    anchors: list[str] = Field(
        min_length=1,
        description="PEM files: roots of IGC-Santé.",
        examples=[["pki/root.pem"]],
    )
    intermediates: list[str] = Field(
        default_factory=list,
        description="PEM files: the authorities below them that issue certificates of operators.",
        examples=[["pki/intermediate.pem"]],
    )
    revocation: RevocationPolicy = Field(
        RevocationPolicy.REFUSE,
        strict=False,
        description="Without a revocation list (CRL) in date for each authority of a peer's chain: "
        '"refuse" with 451 4.7.1, "accept" with an alarm, or "off": never look. A certificate on '
        "a list at hand is refused with 554 unless off.",
    )
    crl_files: list[str] = Field(
        default_factory=list,
        description="CRLs put here by the site, PEM or DER; read again when they change.",
        examples=[["pki/intermediate.crl"]],
    )
    crl_urls: list[str] = Field(
        default_factory=list,
        description="Addresses of CRLs, besides those that the authorities' certificates and our "
        "own name. National: http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
    )
    ocsp: bool = Field(
        default=False,
        description="Where no revocation list in date is at hand from the authority that issued a "
        "peer's certificate, ask the OCSP responder that the certificate names; its answer holds "
        "until the nextUpdate in it. Needs HTTP to that responder; unused if revocation is off.",
    )


class WhiteListSection(Section):
    """The national white list.  Give a URL, or a file or folder where it is put, or both."""

    url: str = Field(
        "",
        pattern=r"^$|^https://",
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
        "alb.mssante.fr", description="Common name of the certificate that must have signed it."
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
        description="Share of the domains that may vanish at once; a list that loses more waits "
        "for: mssante whitelist refresh --accept-shrink",
    )
    stale_hours: Seconds = Field(
        24.0, description="Time without a successful check after which there is an alarm."
    )
    expired_hours: Seconds = Field(
        168.0,
        description="Time without a successful check after which nothing is relayed: 451 4.7.1, "
        "and the queue is held.",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not self.url and not self.file:
            raise ValueError("give url or file: without either there is never a list")
        return self


class Inbound(Section):
    """Mail from other operators."""

    listen: list[Endpoint] = Field(
        default_factory=lambda: ["127.0.0.1:2525"],
        min_length=1,
        description="Addresses to listen on, HOST:PORT; operators use port 25.",
    )
    max_message_bytes: Count = Field(
        36_700_160,
        description="Largest message in octets on the wire; 35 MB carry 25 MB of content.",
    )
    max_connections: Count = Field(500, description="Connections at once, for each worker process.")
    max_recipients: Count = Field(1000, description="Recipients of one message.")
    idle_seconds: Seconds = Field(300.0, description="Silence after which a connection is ended.")
    handshake_seconds: Seconds = Field(30.0, description="Time for a TLS handshake.")
    header_from: HeaderFromPolicy = Field(
        HeaderFromPolicy.TAG,
        strict=False,
        description="A header From whose domain is not listed with the peer's certificate: "
        '"refuse" it, "tag" it in the log only, or "off".',
    )


class Outbound(Section):
    """Mail to other operators."""

    concurrency: Count = Field(20, description="Deliveries at once.")
    retry_first_seconds: Seconds = Field(60.0, description="Wait after the first failed attempt.")
    retry_longest_seconds: Seconds = Field(3600.0, description="Longest wait between attempts.")
    life_hours: Seconds = Field(120.0, description="Time after which a message is given up.")
    poll_seconds: Seconds = Field(0.5, description="How often the queue is looked at for due mail.")
    dns_servers: list[str] = Field(
        default_factory=list,
        description="Addresses of DNS servers; empty: those of the system.",
    )
    routes: dict[str, Endpoint] = Field(
        default_factory=dict,
        description="Hosts that override DNS, by recipient domain: DOMAIN = HOST:PORT. "
        "Their certificate is checked all the same.",
        examples=[{"b.mssante.fr": "127.0.0.1:2526"}],
    )


class Admin(Section):
    """Health and metrics over HTTP; keep it off public networks."""

    listen: Endpoint = Field("127.0.0.1:9180", description="/healthz, /readyz and /metrics.")


class Process(Section):
    """The daemon's processes."""

    workers: Annotated[int, Field(ge=0)] = Field(
        0, description="Worker processes for inbound mail; 0: one for each processor core."
    )
    stop_seconds: Seconds = Field(
        30.0, description="Time for transactions under way to finish when stopping."
    )


class Log(Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written."
    )
    format: Literal["json", "console"] = Field(
        "json", description='"json": one object a line; "console": for reading.'
    )


class Settings(Section):
    """The whole file.  `origin` is its path; it is not a key."""

    operator: Operator
    storage: Storage
    tls: Tls
    trust: Trust
    whitelist: WhiteListSection
    inbound: Inbound = Field(default_factory=Inbound)
    outbound: Outbound = Field(default_factory=Outbound)
    admin: Admin = Field(default_factory=Admin)
    process: Process = Field(default_factory=Process)
    log: Log = Field(default_factory=Log)
    origin: Path = Field(exclude=True)

    def path(self, text: str) -> Path:
        """A path of the file, taken from the file's folder if relative."""
        return self.origin.parent / text

    @property
    def database_url(self) -> str:
        """The database's URL with the default filled in."""
        default = f"sqlite:///{self.path(self.storage.directory) / 'mssante.db'}"
        return self.storage.database or default


def find(given: Path | None) -> Path:
    """The configuration file to use.  Raises SettingsError if there is none."""
    for candidate in (given,) if given is not None else DEFAULT_FILES:
        if candidate.is_file():
            return candidate.absolute()
    wanted = str(given) if given is not None else " or ".join(map(str, DEFAULT_FILES))
    raise SettingsError(f"{wanted}: no such file; give --config FILE or run: mssante init DIR")


def load(given: Path | None) -> Settings:
    """Read the configuration.  Raises SettingsError."""
    path = find(given)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    if "origin" in document:
        raise SettingsError(f"{path}: origin: unknown key; remove it")
    try:
        return Settings.model_validate({**document, "origin": path})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error.errors()[0])}") from None


def _explain(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(
                str(problem["loc"][-1]), _keys(problem["loc"][:-1]), n=1
            )
            return f"{key}: unknown key; " + (f"did you mean {near[0]}?" if near else "remove it")
        case "missing":
            return f"{key}: missing; add it (mssante config reference shows every key)"
        case _:
            return f"{key}: {problem['msg']}; found {problem['input']!r}"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location:
        model = model.model_fields[part].annotation
    return [name for name in model.model_fields if name != "origin"]
