"""How long to wait after failures in a row. Pure."""


def backoff(failures: int, first: float, longest: float) -> float:
    """Give the seconds to wait after `failures` in a row (one or more).

    `first` after one failure, then twice as long each time, never more than `longest`.
    """
    doublings = max(0, min(failures - 1, 30))  # no number grows without end
    return min(first * (1 << doublings), longest)
