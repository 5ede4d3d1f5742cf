"""Recovery codes: ten, each once."""

from mailstore.credentials.credentials import CredentialKind, list_credentials
from mailstore.credentials.recovery_codes import (
    CODES,
    LENGTH,
    set_recovery_codes,
    use_recovery_code,
)
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mailstore.sealed.keyring import Keyring
from tests.support.clock import NOW
from tests.support.people.accounts import person


def test_each_code_is_good_once(database: Database, keys: Keyring) -> None:
    with database.write() as conn:
        claire, paul = person(conn, "claire"), person(conn, "paul")
        codes, ended = set_recovery_codes(conn, claire, keys, now=NOW)
        assert (len(set(codes)), ended) == (CODES, [])
        assert all(len(one.replace("-", "")) == LENGTH for one in codes)
        stored = b"".join(
            conn.scalars(credentials.select().with_only_columns(credentials.c.verifier))
        )
        assert not any(one.replace("-", "").encode() in stored for one in codes)

        def use(account: int, code: str) -> bool:
            return use_recovery_code(conn, account, code, keys, now=NOW) is not None

        assert not use(paul.id, codes[0])
        assert use(claire.id, codes[0])
        assert not use(claire.id, codes[0])
        assert use(claire.id, f" {codes[1].upper().replace('-', ' ')}")
        assert not use(claire.id, "")
        left = [one for one in list_credentials(conn, claire.id) if one.live(NOW)]
        assert len(left) == CODES - 2
        assert {one.kind for one in left} == {CredentialKind.RECOVERY}

        anew, ended = set_recovery_codes(conn, claire, keys, now=NOW)
        assert len(ended) == CODES - 2
        assert not use(claire.id, codes[2])
        assert use(claire.id, anew[0])
