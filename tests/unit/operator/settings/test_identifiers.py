"""Identifiers on the command line: RPPS-rang, and check digits that a site does not verify."""

from pathlib import Path

import pytest

from mailstore.mailboxes.identifiers import LUHN_KINDS
from mssante_operator.settings.identifiers import luhn_kinds
from mssante_operator.settings.model import SettingsError, load
from tests.support.machines.configuration import GOOD, write
from tests.support.machines.daemon import RESPONSIBLE, lay_out

PRACTICE = "99700234190004"  # of the OU 499700234190004, DOMAIN U1.4
EXAMPLE = "10001234567"  # an example RPPS of ANS with a wrong check digit (DOMAIN §1.5)


def test_all_keys_are_checked_by_default(tmp_path: Path) -> None:
    assert luhn_kinds(load(write(tmp_path, GOOD))) == LUHN_KINDS
    text = '[identifiers]\nluhn = ["SIRET"]\n'
    assert luhn_kinds(load(write(tmp_path, GOOD + text))) == {"SIRET"}
    with pytest.raises(SettingsError, match=r"identifiers\.luhn\.0"):
        load(write(tmp_path, GOOD + '[identifiers]\nluhn = ["ADELI"]\n'))


def test_on_the_command_line(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path, "a")
    add = ("mailbox", "add", "--type")
    daemon.run(*add, "ORG", "--rpps-rang", PRACTICE, "cabinet.essai@a.mssante.fr", *RESPONSIBLE)
    assert f"RPPS_RANG {PRACTICE}" in daemon.run("mailbox", "list")
    example = (*add, "PER", "--rpps", EXAMPLE, "essai@a.mssante.fr")
    with pytest.raises(AssertionError, match="the check digit"):
        daemon.run(*example)
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(f"{text}\n[identifiers]\nluhn = []\n", encoding="utf-8")
    daemon.run(*example)
    assert f"RPPS {EXAMPLE}" in daemon.run("mailbox", "list")
