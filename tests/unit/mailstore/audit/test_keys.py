"""Key file of the audit trail: private, replaced whole, never quoted in errors."""

from pathlib import Path

import pytest

from mailstore.audit.chain import ChainEnds, Totals
from mailstore.audit.keys import AuditKeys, add_key, is_signed, make_key_file, read_audit_keys
from mailstore.errors import InvalidKeys
from tests.support.audit.trails import audit_keys
from tests.support.clock import NOW


def test_the_first_generation_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit-keys"
    assert make_key_file(path, NOW)
    made = path.read_bytes()
    assert not make_key_file(path, NOW)
    assert path.read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["audit-keys"]


def test_the_seals_of_each_generation_are_known(tmp_path: Path) -> None:
    keys = audit_keys(tmp_path)
    first = keys.newest
    second = add_key(keys.path, NOW)
    assert keys.row_age(b"d" * 32, second.seal_row(b"d" * 32)) == 1  # read again at need
    assert keys.all == (first, second)
    assert keys.newest == second
    ends = ChainEnds(1, 0)
    for age, key in enumerate((first, second)):
        assert keys.row_age(b"d" * 32, key.seal_row(b"d" * 32)) == age
        assert keys.chain_age(ends, key.seal_chain(ends)) == age
        assert keys.totals_age(Totals(3, 1), key.seal_totals(Totals(3, 1))) == age
    assert keys.row_age(b"e" * 32, first.seal_row(b"d" * 32)) is None
    assert keys.totals_age(Totals(1, 3), first.seal_totals(Totals(3, 1))) is None
    for malformed in (None, "seal", b"short"):
        assert keys.row_age(b"d" * 32, malformed) is None


def test_a_seal_is_of_one_kind(tmp_path: Path) -> None:
    key = audit_keys(tmp_path).newest
    assert key.seal_row(bytes(16)) != key.seal_totals(Totals())


def test_a_statement_is_signed_by_its_key_alone(tmp_path: Path) -> None:
    key = audit_keys(tmp_path).newest
    other = add_key(tmp_path / "audit-keys", NOW)
    signature = key.sign(b"statement")
    assert is_signed(key.public_key, b"statement", signature)
    assert not is_signed(key.public_key, b"another", signature)
    assert not is_signed(other.public_key, b"statement", signature)
    assert not is_signed(b"short", b"statement", signature)
    assert not is_signed(key.public_key, b"statement", b"short")


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    key = audit_keys(tmp_path).newest
    assert key.chain_key.hex() not in repr(key)
    assert repr(key.chain_key) not in repr(key)
    assert repr(key.anchor_key) not in repr(key)


@pytest.mark.parametrize(
    "form",
    [
        "",
        "# only a comment\n",
        "{name}  {made}  {chain}",
        "{name}  {made}  {chain}  {anchor}  {anchor}",
        "{name}  yesterday  {chain}  {anchor}",
        "{name}  {made}  {chain}  {anchor:.62}",
        "{name}  {made}  {anchor}  {chain}",
        "{name}  {made}  {chain}  x{anchor}",
        "\x00\xff",
    ],
)
def test_a_spoilt_file_is_refused_and_quoted_nowhere(tmp_path: Path, form: str) -> None:
    path = audit_keys(tmp_path).path
    name, made, chain, anchor = path.read_text().splitlines()[-1].split()
    text = form.format(name=name, made=made, chain=chain, anchor=anchor)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidKeys, match=str(path)) as refused:
        read_audit_keys(path)
    assert chain[:16] not in str(refused.value)
    assert anchor[:16] not in str(refused.value)


def test_a_file_readable_by_others_is_refused(tmp_path: Path) -> None:
    path = audit_keys(tmp_path).path
    path.chmod(0o640)
    with pytest.raises(InvalidKeys, match="chmod 600"):
        AuditKeys(path)


def test_a_file_spoilt_later_leaves_the_keys_in_force(tmp_path: Path) -> None:
    keys = audit_keys(tmp_path)
    newest = keys.newest
    whole = keys.path.read_text()
    keys.path.write_text("nonsense\n")
    keys.refresh()
    assert keys.newest == newest
    keys.path.write_text(whole)
    second = add_key(keys.path, NOW)
    keys.refresh()
    assert keys.newest == second
