"""Operators A, B and C under test authorities of this process, on a list that is in date."""

from dataclasses import dataclass
from functools import cache

from mssante_operator.setup.install import TrustSpace
from mssante_operator.setup.testbed.credential import Credential
from tests.support.clock import system_clock


@dataclass(frozen=True)
class Federation:
    """Trust space with operators a, b and c on the list, and an intruder off the list."""

    space: TrustSpace
    operators: dict[str, Credential]
    white_list: bytes


@cache
def federation() -> Federation:
    """Trust space of this test process, valid now."""
    space = TrustSpace.create(system_clock())
    operators = {n: space.enrol(f"smtp.{n}.mssante.fr", f"OPERATEUR {n.upper()}") for n in "abc"}
    white_list = space.sign_list({f"{n}.mssante.fr": c for n, c in operators.items()})
    operators["intruder"] = space.enrol("smtp.intrus.example", "INTRUS")
    return Federation(space, operators, white_list)
