"""App passwords: one mailbox, some protocols, an end, only after two factors."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from mailstore.accounts.accounts import Account, suspend_account
from mailstore.accounts.closing import close_account
from mailstore.credentials.app_passwords import (
    AppPasswordPolicy,
    AppPasswordRequest,
    add_app_password,
    check_app_password,
)
from mailstore.credentials.credentials import list_credentials
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mailstore.errors import InvalidCredential, InvalidName
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.model import Mailbox
from mailstore.sealed.keyring import Keyring
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person, program
from tests.support.people.refusals import refused

PER = AppPasswordPolicy(frozenset({MailboxType.PER}))
END = NOW + timedelta(days=90)


def strong(account: Account, factors: int = 2, at: datetime = NOW) -> Proof:
    return Proof(
        account=account.id, factors=factors, method=Method.PASSWORD, credential_id=1, at=at
    )


def asked(mailbox: Mailbox, *protocols: str, ends_at: datetime = END) -> AppPasswordRequest:
    return AppPasswordRequest(
        mailbox=mailbox,
        name="poste du bloc",
        protocols=frozenset(protocols or {"imap"}),
        ends_at=ends_at,
    )


def place(conn: Connection) -> tuple[Account, Mailbox]:
    chu = customer(conn, "chu", "chu.mssante.fr")
    return person(conn, "claire", chu.id), box(conn, "claire@chu.mssante.fr")


def test_it_opens_one_mailbox_by_its_protocols(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        claire, mailbox = place(conn)
        other = box(conn, "b@chu.mssante.fr")
        number, made = add_app_password(
            conn, claire, asked(mailbox, "submission", "imap"), strong(claire), PER, keys, now=NOW
        )

        def check(
            text: str = made.text(),
            mailbox_id: int = mailbox.id,
            protocol: str = "imap",
            policy: AppPasswordPolicy = PER,
            at: datetime = NOW,
        ) -> Proof:
            return check_app_password(
                conn,
                text,
                mailbox_id=mailbox_id,
                protocol=protocol,
                policy=policy,
                keys=keys,
                at=at,
            )

        assert check() == Proof(
            account=claire.id,
            factors=1,
            method=Method.APP_PASSWORD,
            credential_id=number,
            mailbox_id=mailbox.id,
            protocols=frozenset({"imap", "submission"}),
            at=NOW,
        )
        assert check(made.text().upper()) == check(protocol="submission")
        with refused(Refusal.UNKNOWN):
            check("quatre mots assez longs")
        with refused(Refusal.UNKNOWN):
            check(replace(made, lookup="a" * 10).text())
        with refused(Refusal.WRONG):
            check(replace(made, secret="a" * 32).text())
        with refused(Refusal.OTHER_MAILBOX):
            check(mailbox_id=other.id)
        with refused(Refusal.OTHER_PROTOCOL):
            check(protocol="web")
        with refused(Refusal.SWITCHED_OFF):
            check(policy=AppPasswordPolicy())
        with refused(Refusal.ENDED):
            check(at=END)
        (shown,) = list_credentials(conn, claire.id)
        assert (shown.name, shown.mailbox, shown.protocols, shown.ends_at) == (
            "poste du bloc",
            "claire@chu.mssante.fr",
            ("imap", "submission"),
            END,
        )
        suspend_account(conn, "claire", "x", now=NOW)
        with refused(Refusal.ACCOUNT_STATE):
            check()
        close_account(conn, "claire", "x", now=NOW)
        with refused(Refusal.UNKNOWN):
            check()


def test_a_row_changed_by_sql_opens_nothing(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        claire, mailbox = place(conn)
        paul, other = person(conn, "paul", claire.tenant_id), box(conn, "b@chu.mssante.fr")
        number, made = add_app_password(
            conn, claire, asked(mailbox), strong(claire), PER, keys, now=NOW
        )
        for change in (
            {"mailbox_id": other.id},
            {"account_id": paul.id},
            {"protocols": "imap,submission"},
            {"ends_at": END + timedelta(days=1)},
            {"verifier": b"\1" + bytes(60)},
            {"verifier": b""},
        ):
            nested = conn.begin_nested()
            row = update(credentials).where(credentials.c.id == number)
            conn.execute(row.values(change))
            expected = Refusal.ALTERED
            with pytest.raises(Exception) as caught:  # noqa: PT011 - a missing key, for an octet
                check_app_password(
                    conn,
                    made.text(),
                    mailbox_id=mailbox.id,
                    protocol="imap",
                    policy=PER,
                    keys=keys,
                    at=NOW,
                )
            if isinstance(caught.value, LoginRefused):
                assert caught.value.reason is expected
            else:
                assert type(caught.value).__name__ == "KeyMissing"
            nested.rollback()


@pytest.mark.parametrize("kind", list(MailboxType))
def test_off_unless_switched_on_and_never_for_app(
    database: Database, keys: Keyring, kind: MailboxType
) -> None:
    with database.write() as conn:
        claire, _ = place(conn)
        mailbox = box(conn, "x@chu.mssante.fr", kind)
        every = AppPasswordPolicy(frozenset(MailboxType))
        with pytest.raises(InvalidCredential, match=f"off for {kind} mailboxes"):
            add_app_password(
                conn, claire, asked(mailbox), strong(claire), AppPasswordPolicy(), keys, now=NOW
            )
        if kind is MailboxType.APP:
            with pytest.raises(InvalidCredential, match="off for APP mailboxes"):
                add_app_password(conn, claire, asked(mailbox), strong(claire), every, keys, now=NOW)
        else:
            add_app_password(conn, claire, asked(mailbox), strong(claire), every, keys, now=NOW)


def test_not_every_request_is_granted(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        claire, mailbox = place(conn)
        paul = person(conn, "paul", claire.tenant_id)
        pfi = program(conn, "pfi", claire.tenant_id)
        abroad = person(conn, "abroad")

        def give(account: Account, request: AppPasswordRequest, proof: Proof) -> None:
            add_app_password(conn, account, request, proof, PER, keys, now=NOW)

        for proof in (
            strong(claire, factors=1),
            strong(paul),
            strong(claire, at=NOW - timedelta(minutes=15)),
            strong(claire, at=NOW + timedelta(seconds=1)),
        ):
            with pytest.raises(InvalidCredential, match="only after a log-in with two factors"):
                give(claire, asked(mailbox), proof)
        for end in (NOW, NOW + timedelta(days=366)):
            with pytest.raises(InvalidCredential, match="not within 365 days"):
                give(claire, asked(mailbox, ends_at=end), strong(claire))
        with pytest.raises(InvalidCredential, match="protocols of: imap, submission"):
            give(claire, asked(mailbox, "web"), strong(claire))
        with pytest.raises(InvalidCredential, match="give it a certificate"):
            give(pfi, asked(mailbox), strong(pfi))
        with pytest.raises(InvalidCredential, match="no mailbox of the tenant operator"):
            give(abroad, asked(mailbox), strong(abroad))
        with pytest.raises(InvalidName):
            give(claire, replace(asked(mailbox), name=""), strong(claire))
