"""Crash safety of inbound and outbound mail: kills, power cuts, and the checks after them.

`python -m tests.crash` is `make crash`; the tests use its parts in short form.
"""
