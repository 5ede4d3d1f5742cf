"""The revision of the schema that this version needs.

Stated here so that the daemon's processes need not load Alembic to compare it; a test holds it
against the migrations.
"""

from typing import Final

REVISION: Final = "0007"
