"""Revocation of a verified chain: revoked certificates, and missing revocation lists.

All lists of a certificate's issuer are searched for its serial number (RFC 5280 §6.3). A
certificate on any list is revoked, whatever the list's scope, even if the list is out of date. A
certificate is cleared only if lists in date cover it, together for all reasons of revocation.
Missing lists are reported separately; the policy decides about them (DOMAIN §9.62). Signatures
and scopes were checked when the lists were read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from whitelist.pki.certificates import issued_by
from whitelist.pki.crl import RevocationList, signer_of
from whitelist.pki.crl_scope import EVERY_REASON, CrlScope, reason_names
from whitelist.pki.distinguished_name import label


@dataclass(frozen=True, slots=True)
class RevocationFinding:
    """Result for a chain; texts are a line each, '' without a finding.

    `revoked` names the revoked certificate, `missing` the lists that are missing for a decision;
    `until` is the earliest `next_update` of this chain's lists, None without lists.
    """

    revoked: str
    missing: str
    until: datetime | None


class ChainRevocation:
    """Judges chains below `anchors` by the newest list in `crls` of each authority and scope.

    `in_use` are those newest lists. Raises CrlRefused for a list that `crl.signer_of` refuses.
    Thread-safe.
    """

    def __init__(
        self,
        anchors: Sequence[x509.Certificate],
        intermediates: Sequence[x509.Certificate],
        crls: Iterable[RevocationList],
    ) -> None:
        authorities = (*anchors, *intermediates)
        newest: dict[tuple[x509.Certificate, CrlScope], RevocationList] = {}
        for crl in crls:
            slot = signer_of(crl, authorities), crl.scope
            if slot not in newest or newest[slot].issued_before(crl):
                newest[slot] = crl
        self.in_use = tuple(newest.values())
        self._crls_of = {  # a renewed authority has several certificates and the same lists
            authority: tuple(
                crl for (signer, _), crl in newest.items() if _same_authority(authority, signer)
            )
            for authority in authorities
        }
        self._wards_of = {
            authority: tuple(one for one in intermediates if issued_by(one, authority))
            for authority in authorities
        }

    @property
    def issuing(self) -> tuple[x509.Certificate, ...]:
        """The authorities that issue server certificates: those above no other authority."""
        return tuple(authority for authority, wards in self._wards_of.items() if not wards)

    def check(self, chain: Sequence[x509.Certificate], at: datetime) -> RevocationFinding:
        """Judge a chain from the leaf to its anchor, valid otherwise, at the aware `at`.

        An anchor needs no list, unless the chain is only the anchor; its own list may name it.
        """
        links = [
            (subject, issuer, self._crls_of.get(issuer, ()))
            for subject, issuer in zip(chain, (*chain[1:], chain[-1]), strict=True)
        ]
        revoked = [_revoked(subject, crls, at) for subject, _, crls in links]
        judged = links[:-1] or links
        lacking = [_lacking(subject, issuer, crls, at) for subject, issuer, crls in judged]
        until = [c.next_update for subject, _, crls in judged for c in _covering(crls, subject)]
        return RevocationFinding(
            next(filter(None, revoked), ""),
            "; ".join(filter(None, lacking)),
            min(until, default=None),
        )

    def missing_crls(self, at: datetime) -> dict[x509.Certificate, str]:
        """Return the missing lists at the aware `at`, by authority; empty if none is missing.

        An authority above others must have lists that cover these; other authorities must cover
        users. Of lists cut by distribution point any is enough, since peers are not known here.
        """
        found = {}
        for authority, crls in self._crls_of.items():
            wards = self._wards_of[authority]
            problems = [_lacking(ward, authority, crls, at) for ward in wards]
            if not wards:
                of_users = tuple(crl for crl in crls if crl.scope.users)
                problems = [_uncovered("users", authority, crls, of_users, at)]
            if problem := "; ".join(dict.fromkeys(filter(None, problems))):
                found[authority] = problem
        return found


def _same_authority(one: x509.Certificate, other: x509.Certificate) -> bool:
    return (one.subject, one.public_key()) == (other.subject, other.public_key())


def _covering(
    crls: Iterable[RevocationList], subject: x509.Certificate
) -> tuple[RevocationList, ...]:
    return tuple(crl for crl in crls if crl.scope.covers(subject))


def _revoked(subject: x509.Certificate, crls: Sequence[RevocationList], at: datetime) -> str:
    """Return the reason why `subject` is revoked, with its list; '' if it is not.

    A list out of date is ignored if lists in date cover `subject` and were all issued after it:
    then the authority has changed the scopes of its lists, and the old list is history.
    """
    naming = [crl for crl in crls if crl.names(subject)]
    if not naming:
        return ""
    current = [crl for crl in _covering(crls, subject) if crl.in_date(at)]
    cleared = min((crl.this_update for crl in current), default=None)
    if _missing(current):
        cleared = None
    for crl in naming:
        if crl.in_date(at) or cleared is None or crl.this_update >= cleared:
            return f"certificate revoked: {label(subject)}, by the {crl}"
    return ""


def _lacking(
    subject: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[RevocationList],
    at: datetime,
) -> str:
    return _uncovered(label(subject), issuer, crls, _covering(crls, subject), at)


def _uncovered(
    who: str,
    issuer: x509.Certificate,
    crls: Sequence[RevocationList],
    covering: Sequence[RevocationList],
    at: datetime,
) -> str:
    """Return the reason why the lists do not decide about `who`; '' if they do."""
    current = [crl for crl in covering if crl.in_date(at)]
    missing = _missing(current)
    if not missing:
        return ""
    if not crls:
        return f"no revocation list of {label(issuer)} is at hand"
    if not covering:
        at_hand = "; ".join(f"the {crl}" for crl in crls)
        return f"no revocation list of {label(issuer)} at hand covers {who}, only {at_hand}"
    if not current:
        late = "; ".join(f"the {crl}" for crl in covering)
        return f"{late} is not in date as of {at.isoformat()}"
    return (
        f"the revocation lists in date of {label(issuer)} cover {who} for some reasons only; "
        f"lacking: {reason_names(missing)}"
    )


def _missing(crls: Iterable[RevocationList]) -> frozenset[x509.ReasonFlags]:
    return EVERY_REASON.difference(*(crl.scope.reasons for crl in crls))
