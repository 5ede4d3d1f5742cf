"""Certificates and OIDC identities, each within its tenant (DOMAIN §U3)."""

from datetime import timedelta

import pytest

from mailstore.accounts.accounts import suspend_account
from mailstore.accounts.closing import close_account
from mailstore.accounts.identifiers import add_identifier
from mailstore.credentials.credentials import list_credentials, revoke_credential
from mailstore.credentials.outside_identities import (
    add_certificate,
    add_oidc,
    check_certificate,
    check_oidc,
)
from mailstore.credentials.proof import Method, Proof, Refusal
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import Conflict, InvalidCredential
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, PSI, RPPS, customer, person, program
from tests.support.people.refusals import refused

LATER = NOW + timedelta(days=365)
ISSUER = "https://idp.chu.test/realms/x"
DN, FOLDED = "CN=pfi.chu.fr,O=CHU", "cn=pfi.chu.fr,o=chu"


def test_a_certificate_logs_its_program_in(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        pfi = program(conn, "pfi", chu.id)
        number = add_certificate(conn, pfi, "PFI", DN, folded=FOLDED, ends_at=LATER, now=NOW)
        proof = Proof(
            account=pfi.id,
            factors=1,
            method=Method.CERTIFICATE,
            credential_id=number,
            at=NOW,
        )
        assert check_certificate(conn, chu.id, FOLDED, at=NOW) == proof
        with refused(Refusal.UNKNOWN):
            check_certificate(conn, OPERATOR_TENANT, FOLDED, at=NOW)
        with refused(Refusal.UNKNOWN):
            check_certificate(conn, chu.id, FOLDED + "x", at=NOW)
        with refused(Refusal.ENDED):
            check_certificate(conn, chu.id, FOLDED, at=LATER)
        with pytest.raises(
            Conflict, match=r"of the tenant chu has the certificate CN=pfi\.chu\.fr"
        ):
            add_certificate(
                conn, program(conn, "b", chu.id), "x", DN, folded=FOLDED, ends_at=None, now=NOW
            )
        add_certificate(conn, program(conn, "c"), "x", DN, folded=FOLDED, ends_at=None, now=NOW)
        revoke_credential(conn, pfi, number, now=NOW)
        with refused(Refusal.UNKNOWN):
            check_certificate(conn, chu.id, FOLDED, at=NOW)
        add_certificate(
            conn, program(conn, "d", chu.id), "x", DN, folded=FOLDED, ends_at=None, now=NOW
        )


def test_an_end_in_the_past_is_refused(database: Database) -> None:
    with database.write() as conn:
        pfi = program(conn, "pfi")
        with pytest.raises(InvalidCredential, match="is past"):
            add_certificate(conn, pfi, "x", DN, folded=FOLDED, ends_at=NOW, now=NOW)


def test_an_identity_of_a_provider(database: Database) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        number = add_oidc(conn, claire, "CHU", ISSUER, "42", ends_at=None, now=NOW)
        proof = check_oidc(conn, OPERATOR_TENANT, ISSUER, "42", factors=2, at=NOW)
        assert (proof.account, proof.credential_id, proof.factors) == (claire.id, number, 2)
        for issuer, subject in ((ISSUER, "4"), (ISSUER + "/", "42"), ("https://b.test", "42")):
            with refused(Refusal.UNKNOWN):
                check_oidc(conn, OPERATOR_TENANT, issuer, subject, factors=2, at=NOW)
        with pytest.raises(Conflict, match="has the subject 42"):
            add_oidc(conn, person(conn, "paul"), "x", ISSUER, "42", ends_at=None, now=NOW)
        suspend_account(conn, "claire", "x", now=NOW)
        with refused(Refusal.ACCOUNT_STATE):
            check_oidc(conn, OPERATOR_TENANT, ISSUER, "42", factors=2, at=NOW)
        close_account(conn, "claire", "x", now=NOW)
        assert [one.revoked_at for one in list_credentials(conn, claire.id)] == [NOW]
        with refused(Refusal.UNKNOWN):
            check_oidc(conn, OPERATOR_TENANT, ISSUER, "42", factors=2, at=NOW)


@pytest.mark.parametrize(
    ("issuer", "subject", "says"),
    [
        ("http://idp.test", "42", "does not begin with https"),
        (ISSUER, "", "the subject '' is empty"),
        (ISSUER, "4\n2", "not printable"),
        ("", "42", "the issuer"),
    ],
)
def test_malformed_identities_are_refused(
    database: Database, issuer: str, subject: str, says: str
) -> None:
    with database.write() as conn, pytest.raises(InvalidCredential, match=says):
        add_oidc(conn, person(conn, "claire"), "x", issuer, subject, ends_at=None, now=NOW)


def test_the_person_stays_when_the_subject_changes_u3(database: Database) -> None:
    """DOMAIN §U3: match on any identifier, never on `sub`; the primary one may change."""
    with database.write() as conn:
        claire = person(conn, "claire")
        add_identifier(conn, "claire", RPPS, now=NOW)

        def proof(subject: str, *stated: object) -> Proof:
            return check_oidc(conn, OPERATOR_TENANT, ISSUER, subject, stated, factors=2, at=NOW)  # type: ignore[arg-type]

        assert proof("1", RPPS).account == proof("2", PSI, RPPS).account == claire.id
        assert proof("1", RPPS).credential_id is None
        with refused(Refusal.UNKNOWN):
            proof("1", PSI)
        add_identifier(conn, "claire", PSI, now=NOW)
        assert proof("3", PSI).account == claire.id
        person(conn, "paul")
        add_identifier(conn, "paul", OTHER_RPPS, now=NOW)
        with refused(Refusal.AMBIGUOUS):
            proof("1", PSI, OTHER_RPPS)
        suspend_account(conn, "claire", "x", now=NOW)
        with refused(Refusal.ACCOUNT_STATE):
            proof("1", PSI)


def test_a_subject_and_numbers_of_two_accounts_open_neither(database: Database) -> None:
    """DOMAIN §U3: accounts of Pro Santé Connect are merged, and then a subject is another's."""
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire = person(conn, "claire", chu.id)
        person(conn, "paul", chu.id)
        add_identifier(conn, "paul", OTHER_RPPS, now=NOW)
        add_oidc(conn, claire, "x", ISSUER, "s", ends_at=None, now=NOW)
        with refused(Refusal.AMBIGUOUS):
            check_oidc(conn, chu.id, ISSUER, "s", [OTHER_RPPS], factors=2, at=NOW)
        # A number that is nobody's here, or the person's own, is no contradiction.
        for stated in ([], [PSI], [RPPS]):
            found = check_oidc(conn, chu.id, ISSUER, "s", stated, factors=2, at=NOW)
            assert found.account == claire.id
            if stated == [PSI]:
                add_identifier(conn, "claire", RPPS, now=NOW)
