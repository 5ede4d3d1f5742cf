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

    bucket: str = Field(
        "", description="Name of the bucket. Empty: bodies are files in storage.directory."
    )
    endpoint: str = Field(
        "",
        pattern=r"^$|^https?://[^/@?#]+/?$",
        json_schema_extra={"form": "a URL without a path: https://HOST"},
        description="URL of the S3 store, for example https://s3.hopital.example. Empty: AWS.",
    )
    region: str = Field(
        "us-east-1", min_length=1, description="Region in the signature of requests."
    )
    prefix: str = Field(
        "",
        pattern=r"^$|^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        json_schema_extra={"form": "folders of ASCII letters, digits, dots and hyphens: a/b"},
        description="Folder in the bucket. Empty: the whole bucket is ours.",
    )
    access_key_file: str = Field(
        "",
        description="File with the name of the access key, readable by its owner alone. This "
        "key and secret_key_file both empty: credentials of the environment (AWS_ACCESS_KEY_ID "
        "…) or of the machine.",
    )
    secret_key_file: str = Field(
        "", description="File with the secret of the access key, readable by its owner alone."
    )
    ca_file: str = Field(
        "",
        description="PEM file: authorities of the endpoint's certificate, in addition to the "
        "system's.",
    )
    allow_http: bool = Field(
        default=False,
        description="true: allow http:// to hosts other than loopback. Danger: the network can "
        "then read the names of bodies and of the access key, and can destroy bodies.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if bool(self.access_key_file) != bool(self.secret_key_file):
            raise ValueError("set both access_key_file and secret_key_file, or neither")
        host = urlsplit(self.endpoint).hostname
        if self.endpoint.startswith("http://") and not (self.allow_http or _is_loopback(host)):
            raise ValueError("endpoint without TLS; use https://, or set allow_http = true")
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
        description="URL of the database. Empty: SQLite in storage.directory. PostgreSQL: "
        "postgresql://USER:PASSWORD@HOST/NAME.",
    )
    encryption: bool = Field(
        default=True,
        description="true: encrypt new bodies on disk (AES-256-GCM). Existing bodies stay as "
        "they are, and readable, until: mssante store rewrite",
    )
    keys: str = Field(
        "",
        description="Key file, readable by its owner alone. Empty: `keys` in storage.directory. "
        "Keep a copy apart from the bodies: without it no message can be read.",
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
        description='"zstd": compress new bodies before encryption; their sizes on disk then '
        "reveal something of their content. Needs the package backports-zstd before Python "
        "3.14.",
    )
    small_body_bytes: int = Field(
        65_536,
        ge=0,
        le=262_144,
        description="Largest body that is kept in the database, without a file of its own, in "
        "octets. 0: none. Existing bodies stay in their place.",
    )
    min_free_bytes: Amount = Field(
        1_073_741_824,
        description="Free space on the disk of storage.directory below which new mail gets 452 "
        "4.3.1, before the disk is full.",
    )
    min_free_inodes: Amount = Field(
        10_000,
        description="Same limit for free inodes, on file systems that count them.",
    )
    max_clock_difference_seconds: Seconds = Field(
        5.0,
        description="Largest difference between the clocks of this machine and of the database "
        "server. Above it, this machine accepts mail, but does not send, give up or delete any.",
    )
    gc_hours: float = Field(
        24.0,
        ge=0,
        description="Hours between two clean-ups (mssante store gc) of messages and bodies "
        "unused for a day. 0: no clean-up.",
    )
    s3: S3Section = Field(default_factory=S3Section)
