"""The register of docs/data-protection.md names each table of the database, and no other."""

import re
from pathlib import Path

from mssante_operator.assembly.database.database_check import TABLES
from mssante_operator.settings.model import Settings

PAGE = Path(__file__).parents[3] / "docs" / "data-protection.md"
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|(.*)\|$", re.MULTILINE)


def test_each_table_has_its_line() -> None:
    rows = ROW.findall(PAGE.read_text().partition("Outside of the database")[0])
    named = [name for cell, _ in rows for name in re.findall(r"\w+", cell)]
    assert sorted(named) == sorted(table.name for table in TABLES)
    for cell, rest in rows:
        data, why, how_long = (one.strip() for one in rest.split("|"))
        assert data, cell
        assert why, cell
        assert how_long, cell


def test_each_time_has_a_key_of_the_configuration() -> None:
    for section, key in re.findall(r"`(\w+)\.(\w+_(?:days|hours))`", PAGE.read_text()):
        model = Settings.model_fields[section].annotation
        assert model is not None
        assert key in model.model_fields, f"{section}.{key}"
