"""Identifiers of messages and sessions for tests."""

import os

from foundation.ids import RANDOM_OCTETS, new_id
from tests.support.clock import system_clock


def make_id() -> str:
    """New identifier, made now."""
    return new_id(system_clock(), os.urandom(RANDOM_OCTETS))
