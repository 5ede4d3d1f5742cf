"""Lists in the database that a machine refuses, and octets that are not a list."""

import zlib
from collections.abc import Callable
from datetime import timedelta

from mssante_operator.setup.install import TrustSpace
from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime
from tests.support.lists.list_files import FULL, signed
from tests.support.machines.daemon import federation

HOUR = timedelta(hours=1)


def expired_signer() -> bytes:
    space = federation().space
    over = Lifetime(space.now - timedelta(days=30), space.now - timedelta(days=1))
    signer = space.hierarchy.issue_list_signer(over)
    return TrustSpace(space.hierarchy, signer, space.now + HOUR).sign_list(federation().operators)


def foreign_signer() -> bytes:
    other = Hierarchy.create(federation().space.now)
    signer = other.issue_list_signer(Lifetime.of_leaf(federation().space.now))
    return TrustSpace(other, signer, federation().space.now + HOUR).sign_list({})


def operator_as_signer() -> bytes:
    space = federation().space
    return TrustSpace(space.hierarchy, federation().operators["c"], space.now + HOUR).sign_list({})


NEWER = {**FULL, "d": "b"}
# Well-formed lists: another machine may accept them, with other trust or another clock.
SIGNED: dict[str, tuple[Callable[[], bytes], float, str]] = {
    "by a signer that has expired": (expired_signer, 1, "signer-expired: "),
    "by another authority's signer": (foreign_signer, 1, "signer-untrusted: "),
    "by one of the operators": (operator_as_signer, 1, "signer-"),
    "in the future": (lambda: signed(48, **NEWER), 48, "future-date: "),
}
# Not a list for any machine.
DAMAGED: dict[str, tuple[Callable[[], bytes], float, bytes | None, str]] = {
    "altered": (
        lambda: signed(1, **NEWER).replace(b"d.mssante.fr", b"e.mssante.fr"),
        1,
        None,
        "content-altered: ",
    ),
    "cut off": (lambda: signed(1, **NEWER)[:-9], 1, None, "not-well-formed: "),
    "nothing": (lambda: b"", 1, None, "not-well-formed: "),
    "dated falsely": (lambda: signed(1, **NEWER), 2, None, "no list: it is the list "),
    "not the octets of its digest": (
        lambda: signed(1, **NEWER),
        1,
        zlib.compress(signed(1, **FULL)),
        "no list: it is the list ",
    ),
    "a bomb": (
        lambda: b"bomb",
        1,
        zlib.compress(bytes(2**26), 9),
        "no list: more than ",
    ),
    "not packed": (lambda: b"raw", 1, b"raw", "no list: not compressed by zlib"),
}
