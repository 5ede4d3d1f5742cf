"""Signatures of S3 requests that the library lacks: AWS Signature Version 4. Pure.

After the documentation of Amazon S3, "Authenticating Requests: Using the Authorization Header", for
requests without a body.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
_SAFE: Final = "-_.~"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, its secret, and the token of temporary credentials."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def target(path: str, query: Mapping[str, str]) -> str:
    """Path with query, percent-encoded, as signed and sent."""
    return f"{quote(path, safe=f'/{_SAFE}')}?{_query(query)}"


def signed(
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    region: str,
    credentials: Credentials,
    now: datetime,
) -> dict[str, str]:
    """Header fields of a request; `host` has the port unless default; `now` is UTC.

    `path` and `query` are not percent-encoded; see `target`.
    """
    at = now.strftime("%Y%m%dT%H%M%SZ")
    fields = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": at}
    if credentials.token:
        fields["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(fields))
    lines = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields))
    encoded = quote(path, safe=f"/{_SAFE}")
    request = "\n".join((method, encoded, _query(query), lines, names, _NO_BODY))
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    fields["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope},"
        f"SignedHeaders={names},Signature={_hmac(key, text).hex()}"
    )
    return fields


def _query(query: Mapping[str, str]) -> str:
    pairs = ((quote(name, safe=_SAFE), quote(value, safe=_SAFE)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
