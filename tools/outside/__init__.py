"""The outside of the project: names and texts that operators, peers and CI rely on.

`python -m tools.outside FILE` writes them as a stable text, to be compared before and after a
change of the layout; `python -m tools.outside --compare OLD NEW` names each item that vanished.
"""
