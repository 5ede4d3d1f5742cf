"""Types of the configuration: HOST:PORT, routes by domain, routes by CN."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic.functional_validators import AfterValidator, BeforeValidator

from whitelist.pki.name_folding import fold

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}", re.IGNORECASE | re.ASCII)


def split_endpoint(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT`.  Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:2525")
    if host == "*":
        raise ValueError(
            "* is not an address; write 0.0.0.0 for all IPv4 addresses, [::] for all IPv4 and IPv6"
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("IPv6 addresses need brackets, for example [::1]:2525")
    return host.strip("[]"), int(port)


def _check_endpoint(text: str) -> str:
    split_endpoint(text)
    return text


def _check_hosts(given: Any) -> list[str]:
    hosts = given if isinstance(given, list) else [given]
    if not hosts or not all(isinstance(host, str) for host in hosts):
        raise ValueError("expected HOST:PORT, or a list of HOST:PORT in order of preference")
    return [_check_endpoint(host) for host in hosts]


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
Hosts = Annotated[list[str], BeforeValidator(_check_hosts)]
_Routes = dict[str, Hosts]
_Value = TypeVar("_Value")


def _check_domains(routes: _Routes) -> _Routes:
    for domain in routes:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(
                f'{domain!r} is not a domain; write it in quotes, for example "b.mssante.fr"'
            )
    return once(routes, str.lower)


def check_cn(cn: str) -> str:
    """Return the CN unchanged.  Raises ValueError if it is empty or a whole DN."""
    if not cn.strip() or "=" in cn:
        raise ValueError(f"{cn!r} is not a CN; write only its value, for example smtp.b.mssante.fr")
    return cn


def _check_operators(routes: _Routes) -> _Routes:
    for cn in routes:
        check_cn(cn)
    return once(routes, fold)


def once(routes: dict[str, _Value], same: Callable[[str], str]) -> dict[str, _Value]:
    """Return the table unchanged.  Raises ValueError if two keys are equal under `same`."""
    seen: dict[str, str] = {}
    for key in routes:
        other = seen.setdefault(same(key), key)
        if other != key:
            raise ValueError(f"{other!r} and {key!r} are the same; keep one of them")
    return routes


CommonName = Annotated[str, AfterValidator(check_cn)]
DomainRoutes = Annotated[_Routes, AfterValidator(_check_domains)]
OperatorRoutes = Annotated[_Routes, AfterValidator(_check_operators)]
