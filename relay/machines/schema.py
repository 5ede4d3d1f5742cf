"""The tables through which machines that share one database know each other.

The tables are on the mailstore's metadata.  Every change here needs a migration; a test compares
the two.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, String, Table

from mailstore.db.schema import UtcTime, metadata

# A machine by its name in leases (`data/node`).  A copy of its folder has the same name, so the
# courier counts `beat` up: two couriers that count on one row are found out.
machines = Table(
    "machines",
    metadata,
    Column("name", String(32), primary_key=True),
    # Shows the machine that the row is its own: a copy of the folder has another proof.
    Column("proof", String(128), nullable=False),
    Column("beat", BigInteger, nullable=False),
    # By the clock of the database.
    Column("seen_at", UtcTime, nullable=False),
)

# The newest white list that any machine has adopted; each other machine verifies it again.
shared_list = Table(
    "shared_list",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # SHA-256 of the list, in hexadecimal.
    Column("digest", String(64), nullable=False),
    Column("generated_at", UtcTime, nullable=False),
    # When a machine adopted the list, and when a machine last found it to be the newest; by the
    # clock of the database.
    Column("adopted_at", UtcTime, nullable=False),
    Column("checked_at", UtcTime, nullable=False),
    # The date of the newest list that shrank and that a person accepted; null if there was none.
    Column("shrink_accepted", UtcTime, nullable=True),
    # The octets of the signed list, compressed by zlib.
    Column("compressed", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("length(digest) = 64", name="digest_length"),
)
