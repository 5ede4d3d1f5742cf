"""Alarms: conditions that a person must mend before mail is refused, in or out.

Pure.  The names are few and fixed: each is a value of the metric `mssante_alarm` and has a
paragraph in docs/whitelist.md that says what to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from foundation.clock_watch import Jump
from relay.acceptance.disk_guard import DiskGuardState
from relay.policy.trust_state import ListSnapshot
from whitelist.national.adoption import own_domains
from whitelist.national.freshness import Freshness
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import CertificateFacts, TrustStore


class AlarmName(StrEnum):
    """Name of an alarm: label `name` of the metric `mssante_alarm`."""

    LIST_MISSING = "list-missing"
    LIST_STALE = "list-stale"
    LIST_EXPIRED = "list-expired"
    LIST_REFUSED = "list-refused"
    LIST_BEHIND = "list-behind"
    LIST_SIGNER_EXPIRES = "list-signer-expires"
    OWN_DOMAIN = "own-domain"
    OWN_CERTIFICATE_UNREADABLE = "own-certificate-unreadable"
    OWN_CERTIFICATE_EXPIRES = "own-certificate-expires"
    OWN_CERTIFICATE_REFUSED = "own-certificate-refused"
    CRL_LACKING = "crl-lacking"
    CRL_SOURCE = "crl-source"
    SPOOL = "spool"
    CLOCK_JUMPED = "clock-jumped"
    CLOCK_APART = "clock-apart"
    MACHINE_COPY = "machine-copy"
    LOG_LOST = "log-lost"
    JOURNAL_LOST = "journal-lost"
    METRICS_LOST = "metrics-lost"
    SCANNER = "scanner"
    BODY_UNREADABLE = "body-unreadable"
    PROCESS_WAITS = "process-waits"
    AUDIT_ANCHORS = "audit-anchors"
    AUDIT_DAMAGED = "audit-damaged"
    SENDING_LIMIT = "sending-limit"
    JOB_FAILING = "job-failing"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm.  `detail`: one line with the fault and its remedy."""

    name: AlarmName
    detail: str


# Days before a certificate expires at which the text of its alarm changes, so that it is logged.
STAGES: Final = (60, 30, 7)
_JUMPS: Final = 3  # number of clock jumps that the alarm names: the last ones


@dataclass(frozen=True, slots=True)
class AlarmFacts:
    """Facts from which alarms are derived.  `own`: None if our certificate cannot be read."""

    now: datetime
    snapshot: ListSnapshot
    refresh_problem: str
    own: CertificateFacts | None
    own_chain_problem: str
    hosted: Sequence[str]
    trust: TrustStore  # with the revocation lists that are loaded
    crl_problems: Sequence[str]
    disk_guard: DiskGuardState = DiskGuardState.WELL
    jumps: Sequence[Jump] = ()  # jumps of the clock within the last day
    clock_apart: str = ""  # difference between this clock and the database's, empty if small
    copied_from: str = ""  # machine of which this one was found to be a copy within the last day
    disk_trouble: str = ""
    losses: Mapping[str, str] = field(default_factory=dict)  # log, journal or metrics: reason
    scanner_problems: Mapping[str, str] = field(default_factory=dict)  # scanner's name: reason
    unreadable: bool = False  # whether deliveries are held because their bodies are unreadable
    sharing_problem: str = ""  # reason why the list of another machine is refused
    waiting: Sequence[str] = ()  # processes that wait, with the reason
    unanchored: str = ""  # reason why the audit trail gets no anchor
    # Place to time of the oldest anchor that it lacks, and reason.
    unsent: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    unsent_after: timedelta = timedelta(days=1)
    audit_damage: str = ""  # rows of the audit trail that are not as they were written
    limited: Sequence[str] = ()  # types of mailboxes that a limit stopped within the last hours
    failing_jobs: Mapping[str, str] = field(default_factory=dict)  # job's name: reason


def alarms(facts: AlarmFacts) -> list[Alarm]:
    """All active alarms, in a fixed order."""
    found = [*_list_alarms(facts), *_own_alarms(facts), *_crl_alarms(facts)]
    if facts.disk_guard is not DiskGuardState.WELL:
        detail = f"disk of the mail store {facts.disk_guard}: new mail gets 4xx"
        if facts.disk_trouble:
            detail = f"mail store takes no mail: new mail gets 451: {facts.disk_trouble}"
        found.append(Alarm(AlarmName.SPOOL, detail))
    if facts.jumps:
        detail = f"{'; '.join(map(str, facts.jumps[-_JUMPS:]))}: check the clock and NTP"
        found.append(Alarm(AlarmName.CLOCK_JUMPED, detail))
    if facts.clock_apart:
        found.append(Alarm(AlarmName.CLOCK_APART, facts.clock_apart))
    if facts.copied_from:
        detail = (
            f"copy of a running machine: both had the name {facts.copied_from}; this machine has "
            "a new name now; check: mssante machine list"
        )
        found.append(Alarm(AlarmName.MACHINE_COPY, detail))
    found += [Alarm(AlarmName(f"{kind}-lost"), detail) for kind, detail in facts.losses.items()]
    for name, problem in sorted(facts.scanner_problems.items()):
        found.append(Alarm(AlarmName.SCANNER, f"scan.{name}: {problem}"))
    if facts.unreadable:
        # Without the number of messages: each new text would be logged as a new alarm.
        detail = (
            "messages held because of unreadable bodies; reasons: mssante queue list --state held; "
            "restore the bodies or the key from a backup, then delivery goes on by itself"
        )
        found.append(Alarm(AlarmName.BODY_UNREADABLE, detail))
    found += [Alarm(AlarmName.PROCESS_WAITS, reason) for reason in facts.waiting]
    if facts.limited:
        detail = (
            f"{', '.join(facts.limited)}: a mailbox sent more than [sending] lets it within an "
            "hour, and was stopped; see mssante mailbox sent, and ask its holder"
        )
        found.append(Alarm(AlarmName.SENDING_LIMIT, detail))
    for job, why in sorted(facts.failing_jobs.items()):
        detail = f"job {job}: its last round failed: {why}; it is tried again; see the log"
        found.append(Alarm(AlarmName.JOB_FAILING, detail))
    return found + _audit_alarms(facts)


def _audit_alarms(facts: AlarmFacts) -> list[Alarm]:
    found = []
    if facts.unanchored:
        detail = f"the audit trail gets no anchor: {facts.unanchored}"
        found.append(Alarm(AlarmName.AUDIT_ANCHORS, detail))
    for place, (at, why) in sorted(facts.unsent.items()):
        if facts.now - at >= facts.unsent_after:
            detail = f"audit.anchors_to: {place} lacks anchors since {at.isoformat()}: {why}"
            found.append(Alarm(AlarmName.AUDIT_ANCHORS, detail))
    if facts.audit_damage:
        detail = (
            f"rows of the audit trail are not as they were written: {facts.audit_damage}; they "
            "stay beyond their retention; run: mssante audit verify"
        )
        found.append(Alarm(AlarmName.AUDIT_DAMAGED, detail))
    return found


def _list_alarms(facts: AlarmFacts) -> list[Alarm]:
    found = []
    snapshot = facts.snapshot
    if snapshot.loaded is None:
        found.append(Alarm(AlarmName.LIST_MISSING, snapshot.problem))
    elif snapshot.freshness is Freshness.STALE:
        checked = snapshot.last_check.isoformat() if snapshot.last_check else "never"
        detail = (
            f"last successful check of the white list: {checked}; without a new check it expires"
        )
        found.append(Alarm(AlarmName.LIST_STALE, detail))
    elif snapshot.problem:
        found.append(Alarm(AlarmName.LIST_EXPIRED, snapshot.problem))
    if facts.refresh_problem:
        found.append(Alarm(AlarmName.LIST_REFUSED, facts.refresh_problem))
    if facts.sharing_problem:
        found.append(Alarm(AlarmName.LIST_BEHIND, facts.sharing_problem))
    if snapshot.loaded is not None:
        found += _expiry(
            AlarmName.LIST_SIGNER_EXPIRES,
            "certificate of the list's signer",
            snapshot.loaded.signer,
            facts.now,
        )
    return found


def _own_alarms(facts: AlarmFacts) -> list[Alarm]:
    if facts.own is None:
        detail = "tls.certificate unreadable: new processes cannot show a certificate to peers"
        return [Alarm(AlarmName.OWN_CERTIFICATE_UNREADABLE, detail)]
    found = _expiry(AlarmName.OWN_CERTIFICATE_EXPIRES, "our certificate", facts.own, facts.now)
    if facts.own_chain_problem:
        found.append(Alarm(AlarmName.OWN_CERTIFICATE_REFUSED, facts.own_chain_problem))
    if facts.snapshot.loaded is not None:
        wrong = own_domains(facts.snapshot.loaded, facts.hosted, facts.own.subject)
        found += [Alarm(AlarmName.OWN_DOMAIN, alarm.detail) for alarm in wrong]
    return found


def _expiry(name: AlarmName, what: str, facts: CertificateFacts, now: datetime) -> list[Alarm]:
    left = facts.not_after - now
    if left <= timedelta(0):
        return [Alarm(name, f"{what} expired on {facts.not_after.isoformat()}")]
    stage = min((days for days in STAGES if left <= timedelta(days=days)), default=None)
    if stage is None:
        return []
    detail = f"{what} expires within {stage} days, on {facts.not_after.isoformat()}"
    return [Alarm(name, detail)]


def _crl_alarms(facts: AlarmFacts) -> list[Alarm]:
    if facts.trust.revocation is RevocationPolicy.OFF:
        return []
    found = [Alarm(AlarmName.CRL_LACKING, lack) for lack in facts.trust.missing_crls(facts.now)]
    return found + [Alarm(AlarmName.CRL_SOURCE, problem) for problem in facts.crl_problems]
