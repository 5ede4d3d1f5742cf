"""Revision of the schema that this version needs.

A constant, so that the daemon's processes need not load Alembic.  A test compares it with the
migrations.
"""

from typing import Final

REVISION: Final = "0012"
