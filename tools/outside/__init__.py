"""Outside of the project: names and texts that operators, peers and CI rely on.

`python -m tools.outside FILE` writes them as a sorted text, to compare before and after a change of
the layout; `python -m tools.outside --compare OLD NEW` prints each item that vanished.
"""
