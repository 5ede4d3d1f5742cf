"""Secrets of credentials sealed anew, so that an older key can go."""

from datetime import timedelta

import pyotp

from mailstore.credentials.app_passwords import (
    AppPasswordPolicy,
    AppPasswordRequest,
    add_app_password,
    check_app_password,
)
from mailstore.credentials.proof import Method, Proof, Refusal
from mailstore.credentials.recovery_codes import CODES, set_recovery_codes, use_recovery_code
from mailstore.credentials.resealing import reseal_credentials
from mailstore.credentials.totp import STEP, open_secret, set_totp
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.sealed.keyring import Keyring, rotate
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person
from tests.support.people.refusals import refused
from tests.support.people.tampering import flip_a_bit

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PER = AppPasswordPolicy(frozenset({MailboxType.PER}))


def test_only_the_newest_key_is_needed_then(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire, mailbox = person(conn, "claire", chu.id), box(conn, "a@chu.mssante.fr")
        shown = pyotp.TOTP(SECRET).generate_otp(int(NOW.timestamp()) // STEP)
        set_totp(conn, claire, SECRET, shown, keys, now=NOW)
        codes, _ = set_recovery_codes(conn, claire, keys, now=NOW)
        proof = Proof(account=claire.id, factors=2, method=Method.OIDC, credential_id=None, at=NOW)
        asked = AppPasswordRequest(
            mailbox=mailbox,
            name="x",
            protocols=frozenset({"imap"}),
            ends_at=NOW + timedelta(days=1),
        )
        _, made = add_app_password(conn, claire, asked, proof, PER, keys, now=NOW)
        use_recovery_code(conn, claire.id, codes[0], keys, now=NOW)
    assert reseal_credentials(database, keys) == 0
    rotate(keys.path, NOW)
    assert reseal_credentials(database, keys) == CODES + 1  # a used code stays as it is
    assert reseal_credentials(database, keys) == 0
    lines = keys.path.read_text().splitlines(keepends=True)
    keys.path.write_text("".join(line for line in lines if keys.newest.id.hex() in line))
    newest = Keyring(keys.path)
    assert len(newest.names) == 1
    with database.write() as conn:
        (row,) = conn.execute(credentials.select().where(credentials.c.kind == "totp"))
        assert open_secret(row.verifier, claire.id, newest) == SECRET
        assert use_recovery_code(conn, claire.id, codes[1], newest, now=NOW)
        proof = check_app_password(
            conn,
            made.text(),
            mailbox_id=mailbox.id,
            protocol="imap",
            policy=PER,
            keys=newest,
            at=NOW,
        )
        assert proof.account == claire.id


def test_an_altered_row_stays_for_the_log_in_to_find(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        set_recovery_codes(conn, claire, keys, now=NOW)
        flip_a_bit(conn, credentials.c.name == "recovery code 1")
    rotate(keys.path, NOW)
    assert reseal_credentials(database, keys) == CODES - 1


def test_a_row_of_nonsense_stops_neither_the_rotation_nor_a_door(
    database: Database, keys: Keyring
) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire, mailbox = person(conn, "claire", chu.id), box(conn, "a@chu.mssante.fr")
        proof = Proof(account=claire.id, factors=2, method=Method.OIDC, credential_id=None, at=NOW)
        asked = AppPasswordRequest(
            mailbox=mailbox,
            name="x",
            protocols=frozenset({"imap"}),
            ends_at=NOW + timedelta(days=1),
        )
        _, made = add_app_password(conn, claire, asked, proof, PER, keys, now=NOW)
        set_recovery_codes(conn, claire, keys, now=NOW)
        altered = credentials.c.kind == "app_password"
        conn.execute(credentials.update().where(altered).values(ends_at=None, protocols="imap,é"))
        with refused(Refusal.ALTERED):
            check_app_password(
                conn,
                made.text(),
                mailbox_id=mailbox.id,
                protocol="imap",
                policy=PER,
                keys=keys,
                at=NOW,
            )
    rotate(keys.path, NOW)
    assert reseal_credentials(database, keys) == CODES
