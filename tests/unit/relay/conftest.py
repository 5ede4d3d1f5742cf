"""A sender and a peer for conversations, with keys made once per module; a store of deliveries."""

from tests.support.rules.relay_rules import pytest_pyfunc_call, time_is_turned

__all__ = ["pytest_pyfunc_call", "time_is_turned"]
