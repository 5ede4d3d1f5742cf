"""Short form of `make fuzz`: each target gets its seeds, whole and damaged in many places."""

import random

import pytest

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")  # cryptography warns about odd certificates
def test_damaged_seeds(name: str) -> None:
    target, seeds = TARGETS[name]
    chance = random.Random(name)
    for seed in seeds:
        target(seed)
        for _ in range(200):
            at = chance.randrange(len(seed))
            piece = bytes(chance.randrange(256) for _ in range(chance.randrange(4)))
            target(seed[:at] + piece + seed[at + chance.randrange(4) :])
    assert seeds
