"""Conversion of settings to the relay's policies and limits.  Pure."""

from dataclasses import fields
from datetime import timedelta

from relay.connection.limits import SessionLimits
from relay.delivery.window import WindowPolicy
from relay.policy.admission import AdmissionPolicy
from relay.queue.retry import RetryPolicy
from whitelist.pki.name_folding import fold

from ..settings.model import Settings


def policy(settings: Settings) -> AdmissionPolicy:
    """Policy of admission: keys of [inbound], and the keys `patient_*` of [outbound]."""
    inbound, outbound = settings.inbound, settings.outbound
    given = {
        one.name: getattr(outbound if one.name.startswith("patient_") else inbound, one.name)
        for one in fields(AdmissionPolicy)
    }
    return AdmissionPolicy(
        **{**given, "own_header_from_peers": frozenset(map(fold, inbound.own_header_from_peers))}
    )


def limits(settings: Settings) -> SessionLimits:
    """Limits of the listener: the keys of [inbound] with the same names."""
    inbound = settings.inbound
    return SessionLimits(**{one.name: getattr(inbound, one.name) for one in fields(SessionLimits)})


def retry_policy(settings: Settings) -> RetryPolicy:
    """Backoff and life of deliveries."""
    outbound = settings.outbound
    return RetryPolicy(
        first=timedelta(seconds=outbound.retry_first_seconds),
        longest=timedelta(seconds=outbound.retry_longest_seconds),
        life=timedelta(hours=outbound.life_hours),
        delay_warning=timedelta(hours=outbound.delay_warning_hours),
        unknown_max_tries=outbound.unknown_outcome_tries,
    )


def window_policy(settings: Settings) -> WindowPolicy:
    """Window of a destination and its probing."""
    outbound = settings.outbound
    return WindowPolicy(
        first=outbound.destination_concurrency_first,
        largest=outbound.destination_concurrency,
        probing=RetryPolicy(
            first=timedelta(seconds=outbound.probe_first_seconds),
            longest=timedelta(seconds=outbound.probe_longest_seconds),
        ),
    )
