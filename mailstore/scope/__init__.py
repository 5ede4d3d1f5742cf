"""Scope of an administrator: a part of the operator, and its rows."""
