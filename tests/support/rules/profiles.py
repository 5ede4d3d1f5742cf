"""Hypothesis profiles: how long property tests search.  HYPOTHESIS_PROFILE names the one in force.

`unit` is for `make check`, `default` for all tests together; `fuzz` runs FUZZ_EXAMPLES examples of
each test (`make fuzz`).
"""

import os

from hypothesis import HealthCheck, settings

# Deadlines and rates of examples are meaningless on a shared machine.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# CI runs use the same examples each time; other runs search for new examples.
_DERANDOMIZE = "CI" in os.environ

settings.register_profile("unit", _PATIENT, max_examples=30, derandomize=_DERANDOMIZE)
settings.register_profile("default", _PATIENT, max_examples=100, derandomize=_DERANDOMIZE)
settings.register_profile(
    "fuzz", _PATIENT, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20000"))
)


def load(*, unit_alone: bool) -> None:
    """Put the profile in force.  `unit_alone`: the unit tests run without the other tiers."""
    fallback = "unit" if unit_alone else "default"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", fallback))
