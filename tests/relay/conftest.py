"""Tests of the relay turn the clock, and none of its code may block the event loop."""

from tests.support.relay_rules import pytest_pyfunc_call, time_is_turned

__all__ = ["pytest_pyfunc_call", "time_is_turned"]
