"""Credentials as rows: listing, revoking, notes of their use."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailstore.accounts.accounts import get_account
from mailstore.accounts.changes import access_number
from mailstore.accounts.endings import CredentialEnded
from mailstore.credentials.credentials import (
    NOTED_EVERY,
    CredentialKind,
    get_credential,
    insert_credential,
    list_credentials,
    note_use,
    revoke_credential,
    revoke_kind,
    use_is_due,
)
from mailstore.credentials.outside_identities import add_certificate, add_oidc
from mailstore.credentials.proof import Method, Proof
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.errors import InvalidName, NotFound
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person

LATER = NOW + timedelta(hours=1)


def test_listing_shows_no_secret(database: Database) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        insert_credential(
            conn, claire, CredentialKind.PASSWORD, "password", b"$argon2id$1", now=NOW
        )
        add_certificate(conn, claire, "carte", "CN=x", folded="cn=x", ends_at=LATER, now=NOW)
        add_oidc(conn, claire, "CHU", "https://idp.test", "42", ends_at=None, now=NOW)
        password, certificate, oidc = list_credentials(conn, claire.id)
        assert "argon2id" not in repr(password)
        assert (password.kind, password.created_at, password.identity) == ("password", NOW, None)
        assert (certificate.identity, certificate.ends_at) == ("CN=x", LATER)
        assert certificate.live(NOW)
        assert not certificate.live(LATER)
        assert oidc.identity == "https://idp.test\n42"
        assert get_credential(conn, claire.id, oidc.id) == oidc


def test_revoking(database: Database) -> None:
    with database.write() as conn:
        claire, paul = person(conn, "claire"), person(conn, "paul")
        for name in ("a", "b"):
            insert_credential(conn, claire, CredentialKind.RECOVERY, name, b"x", now=NOW)
        first, second = list_credentials(conn, claire.id)
        before = access_number(conn)
        with pytest.raises(NotFound, match="no credential of number"):
            revoke_credential(conn, paul, first.id, now=LATER)
        found, endings = revoke_credential(conn, claire, first.id, now=LATER)
        assert found == first
        assert endings == [CredentialEnded(credential=first.id, account=claire.id, at=LATER)]
        assert access_number(conn) != before
        assert get_credential(conn, claire.id, first.id).revoked_at == LATER
        with pytest.raises(NotFound, match="revoked already"):
            revoke_credential(conn, claire, first.id, now=LATER)
        (ended,) = revoke_kind(conn, claire, CredentialKind.RECOVERY, now=LATER)
        assert ended.credential == second.id
        assert revoke_kind(conn, claire, CredentialKind.RECOVERY, now=LATER) == []


def test_each_has_a_name(database: Database) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        with pytest.raises(InvalidName, match="the name of the credential is empty"):
            insert_credential(conn, claire, CredentialKind.PASSWORD, " ", b"x", now=NOW)


def test_a_use_is_noted_once_an_hour_domain_u1_2(database: Database) -> None:
    """DOMAIN §U1.2: the last log-in to each mailbox is known, so that unused ones are found."""
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        claire, mailbox = person(conn, "claire"), box(conn, "a@chu.mssante.fr")
        insert_credential(conn, claire, CredentialKind.PASSWORD, "password", b"x", now=NOW)
        (password,) = list_credentials(conn, claire.id)

        def proof(after: timedelta) -> Proof:
            return Proof(
                account=claire.id,
                factors=1,
                method=Method.PASSWORD,
                credential_id=password.id,
                at=NOW + after,
            )

        assert use_is_due(conn, proof(timedelta()), mailbox.id)
        note_use(conn, proof(timedelta()), mailbox.id)
        soon = proof(NOTED_EVERY / 2)
        assert not use_is_due(conn, soon, mailbox.id)
        note_use(conn, soon, mailbox.id)
        last = select(mailboxes.c.last_login_at).where(mailboxes.c.id == mailbox.id)
        assert conn.scalar(last) == NOW
        assert get_account(conn, "claire").last_login_at == NOW
        assert get_credential(conn, claire.id, password.id).last_used_at == NOW
        later = proof(2 * NOTED_EVERY)
        assert use_is_due(conn, later, mailbox.id)
        note_use(conn, later, None)
        assert conn.scalar(last) == NOW
        assert get_account(conn, "claire").last_login_at == later.at
        assert use_is_due(conn, later, mailbox.id)
        assert not use_is_due(conn, later, None)
