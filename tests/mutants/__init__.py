"""Mutants: each takes out one guard of the product, and a test must fail for it.

`make mutants` tries all of them on a copy of the checkout.  A mutant is found by its source text,
wherever in the packages that stands, and its tests by their names, wherever under tests/ they are:
a file that moves breaks nothing, a text or a test that is gone is an error.
"""
