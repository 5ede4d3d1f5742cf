"""The domain of an address in SQL, on both databases."""

import pytest
from sqlalchemy import String, literal, select

from mailstore.db.address_domain import address_domain
from mailstore.db.database import Database


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("claire@A.mssante.fr", "a.mssante.fr"),
        ('"x@b.fr"@a.fr', "a.fr"),
        ("a.fr@a.fr", "a.fr"),
        ("@a.fr", "a.fr"),
        ("é%_@a.fr", "a.fr"),
        ("x@", ""),
        ("", ""),
        ("postmaster", "postmaster"),
    ],
)
def test_it_is_all_behind_the_last_at(database: Database, address: str, domain: str) -> None:
    with database.read() as conn:
        assert conn.scalar(select(address_domain(literal(address, String())))) == domain
