"""Backoff: waiting time after failures in a row. Pure."""


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the seconds to wait after `failures` in a row (at least 1).

    `first` seconds after the first failure, doubled after each further failure, at most `longest`.
    """
    doublings = max(0, min(failures - 1, 30))  # bounds the shift
    return min(first * (1 << doublings), longest)
