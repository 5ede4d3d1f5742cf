"""Tables [storage] and [storage.s3] of the configuration file.

The descriptions are the documentation, as in `sections`.
"""

from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from .base import Amount, Seconds, Section


class S3Section(Section):
    """Bodies in an S3 bucket instead of files, for several machines on one PostgreSQL.

    Needs the package: pip install 'mssante[s3]'
    """

    bucket: str = Field("", description="Its name; empty: bodies are files in the folder above.")
    endpoint: str = Field(
        "",
        pattern=r"^$|^https?://[^/@?#]+/?$",
        json_schema_extra={"form": "a URL without a path: https://HOST"},
        description="URL of the store, for example https://s3.hopital.example; empty: AWS.",
    )
    region: str = Field(
        "us-east-1", min_length=1, description="Region that requests are signed for."
    )
    prefix: str = Field(
        "",
        pattern=r"^$|^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        json_schema_extra={"form": "folders of ASCII letters, digits, dots and hyphens: a/b"},
        description="Folder in the bucket; empty: all of the bucket is ours.",
    )
    access_key_file: str = Field(
        "",
        description="File with the access key's name, for its owner alone; with the next one, or "
        "both empty: credentials of the environment (AWS_ACCESS_KEY_ID …) or of the machine.",
    )
    secret_key_file: str = Field("", description="File with the access key's secret, likewise.")
    ca_file: str = Field(
        "", description="PEM file: authorities of the endpoint's certificate, besides the system's."
    )
    allow_http: bool = Field(
        default=False,
        description="Whether the endpoint may be http:// elsewhere than on loopback: whoever is on "
        "the way then sees names of bodies and of the access key, and can lose bodies.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if bool(self.access_key_file) != bool(self.secret_key_file):
            raise ValueError("give access_key_file and secret_key_file, or neither")
        host = urlsplit(self.endpoint).hostname
        if self.endpoint.startswith("http://") and not (self.allow_http or _is_loopback(host)):
            raise ValueError("endpoint is not https://; take that, or set allow_http = true")
        return self


def _is_loopback(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


class StorageSection(Section):
    """Storage of messages."""

    directory: str = Field(
        description="Folder of bodies, of the default database and of run-time files.",
        examples=["data"],
    )
    database: str = Field(
        "",
        description="URL of the database; empty: SQLite in the folder above. "
        "PostgreSQL: postgresql://USER:PASSWORD@HOST/NAME.",
    )
    encryption: bool = Field(
        default=True,
        description="Whether new bodies are encrypted on disk (AES-256-GCM). Those already there "
        "stay as they are, and are read, until: mssante store rewrite",
    )
    keys: str = Field(
        "",
        description="File of the keys, readable by its owner alone; empty: `keys` in the folder "
        "above. Keep a copy apart from the bodies: without it no message can be read.",
        examples=["/etc/mssante/keys"],
    )
    audit_keys: str = Field(
        "",
        description="File of the keys of the audit trail, readable by its owner alone, the same "
        "on all machines of a store; empty: `audit-keys` in the folder above.",
        examples=["/etc/mssante/audit-keys"],
    )
    compression: Literal["none", "zstd"] = Field(
        "none",
        description='"zstd": compress new bodies before they are encrypted, so that their sizes '
        "on disk tell of their content. Needs the package backports-zstd before Python 3.14.",
    )
    small_body_bytes: int = Field(
        65_536,
        ge=0,
        le=262_144,
        description="Bodies of up to so many octets are kept in the database, which saves a file "
        "for each; 0: none. Those already there stay where they are.",
    )
    min_free_bytes: Amount = Field(
        1_073_741_824,
        description="Free space of the folder's file system below which mail is put off with "
        "452 4.3.1, before the disk is full.",
    )
    min_free_inodes: Amount = Field(
        10_000,
        description="The same for its free inodes, on file systems that count them.",
    )
    max_clock_difference_seconds: Seconds = Field(
        5.0,
        description="Seconds by which this machine's clock may differ from that of the database's "
        "server. Beyond it this machine takes mail in, and sends, gives up and deletes none.",
    )
    gc_hours: float = Field(
        24.0,
        ge=0,
        description="Hours between two rounds in which messages and bodies that nobody has needed "
        "for a day are freed (mssante store gc); 0: none.",
    )
    s3: S3Section = Field(default_factory=S3Section)
