"""Settings at the top of a dialogue file, converted to settings of the listener."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from relay.connection.limits import SessionLimits
from relay.policy.admission import AdmissionPolicy
from relay.policy.header_from import HeaderFromPolicy
from relay.smtp.address import parse_address

_POLICIES = ("header_from", "own_header_from")
_OTHERS = {"peer", "list", "postmaster", "domain_quota", *_POLICIES}


def listener_settings(settings: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `operators.inbound` for a dialogue.  ValueError for an unknown setting."""
    unknown = (
        set(settings)
        - _OTHERS
        - {one.name for one in (*fields(SessionLimits), *fields(AdmissionPolicy))}
    )
    if unknown:
        raise ValueError(f"no setting of the listener: {', '.join(sorted(unknown))}")
    policy: dict[str, Any] = {"max_message_bytes": 1_000_000, **_numbers(AdmissionPolicy, settings)}
    policy |= {name: HeaderFromPolicy(settings[name]) for name in _POLICIES if name in settings}
    postmaster = settings.get("postmaster")
    domain_quota = settings.get("domain_quota")
    return {
        "white_list": b"" if settings.get("list") == "none" else None,
        "behind": settings.get("list") == "old",
        "limits": SessionLimits(**_numbers(SessionLimits, settings)),
        "policy": AdmissionPolicy(**policy),
        "postmaster": parse_address(postmaster) if postmaster else None,
        "domain_quota": int(domain_quota) if domain_quota else None,
    }


def _numbers(of: type[Any], settings: Mapping[str, str]) -> dict[str, Any]:
    named = [one.name for one in fields(of) if one.name in settings and one.name not in _OTHERS]
    return {name: _number(settings[name]) for name in named}


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)
