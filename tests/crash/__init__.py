"""Crash safety of the way in: kills, power cuts, and what must be found after them.

`python -m tests.crash` is `make crash`; the tests use its parts in short.
"""
