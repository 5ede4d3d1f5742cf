"""The perimeter: what is adopted, what is not, and what stays in force meanwhile."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from relay.perimeter import Perimeter
from tests.support.hierarchy import NOW, hierarchy, listed, server, signed_list, trust
from tests.support.waiting import until
from whitelist.lookup import WhiteList
from whitelist.trust import ChainStatus

DN = "CN=smtp.b.mssante.fr,OU=1750000001,O=CHU DE TEST,ST=Paris (75),C=FR"


def make(path: Path) -> Perimeter:
    perimeter = Perimeter(path, "alb.mssante.fr", trust(), lambda: NOW)
    perimeter.load()
    return perimeter


def in_force(perimeter: Perimeter) -> WhiteList:
    white_list = perimeter.snapshot.white_list
    assert white_list is not None
    return white_list


def test_no_file_is_no_list(tmp_path: Path) -> None:
    snapshot = make(tmp_path / "missing.xml").snapshot
    assert snapshot.white_list is None
    assert "missing.xml" in snapshot.problem


def test_an_invalid_list_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    path.write_bytes(signed_list([listed("b.mssante.fr", DN)])[:-20])
    snapshot = make(path).snapshot
    assert snapshot.white_list is None
    assert snapshot.problem.startswith("not-well-formed: ")


def test_a_newer_list_is_adopted_while_running(tmp_path: Path) -> None:
    # DOMAIN §9.12: atomic swap.
    path = tmp_path / "list.xml"
    path.write_bytes(signed_list([listed("b.mssante.fr", DN)]))
    perimeter = make(path)

    async def watch() -> None:
        task = asyncio.create_task(perimeter.watch(0.01))
        path.write_bytes(signed_list([listed("b.mssante.fr", DN), listed("c.mssante.fr", DN)], NOW))
        await until(lambda: bool(in_force(perimeter).names_of("c.mssante.fr")))
        task.cancel()

    asyncio.run(watch())
    assert perimeter.snapshot.rejected == ""


@pytest.mark.parametrize("how", ["older", "broken", "gone"])
def test_the_last_good_list_stays(tmp_path: Path, how: str) -> None:
    # DOMAIN §9.5, §9.6: never back in time, never to something invalid, never to nothing.
    path = tmp_path / "list.xml"
    good = signed_list([listed("b.mssante.fr", DN)], NOW - timedelta(hours=1))
    path.write_bytes(good)
    perimeter = make(path)
    good_one = in_force(perimeter)
    match how:
        case "older":
            path.write_bytes(signed_list([], NOW - timedelta(hours=2)))
        case "broken":
            path.write_bytes(good.replace(b"b.mssante.fr", b"x.mssante.fr"))
        case _:
            path.unlink()
    perimeter.load()
    assert perimeter.snapshot.white_list is good_one
    assert perimeter.snapshot.problem == ""
    expected = {"older": "rollback", "broken": "content-altered", "gone": "unreadable"}
    assert perimeter.snapshot.rejected.startswith(expected[how])


def test_an_equal_date_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    path.write_bytes(signed_list([listed("b.mssante.fr", DN)], NOW))
    perimeter = make(path)
    path.write_bytes(signed_list([listed("c.mssante.fr", DN)], NOW))
    perimeter.load()
    assert in_force(perimeter).names_of("c.mssante.fr")


def test_identify(tmp_path: Path) -> None:
    perimeter = make(tmp_path / "none.xml")
    der = server("smtp.b.mssante.fr").certificate.public_bytes(Encoding.DER)
    peer = perimeter.identify(der, "TLSv1.3", "X")
    assert peer.certificate is not None
    assert str(peer.certificate.subject) == DN
    assert peer.chain is not None
    assert peer.chain.trusted
    assert perimeter.identify(None, "TLSv1.3", "X").certificate is None
    root = hierarchy().root.certificate.public_bytes(Encoding.DER)
    assert perimeter.identify(root, "TLSv1.3", "X").certificate is not None


def test_an_unreadable_certificate_is_not_trusted(tmp_path: Path) -> None:
    peer = make(tmp_path / "none.xml").identify(b"\x30\x00", "TLSv1.3", "X")
    assert peer.certificate is None
    assert peer.chain is not None
    assert peer.chain.status is ChainStatus.UNTRUSTED
