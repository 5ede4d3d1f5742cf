"""A mailstore as a whole: its bodies and its database."""

from dataclasses import dataclass

from mailstore.blobs.bodies import Bodies
from mailstore.db.database import Database


@dataclass(frozen=True, slots=True)
class Store:
    """Where messages are kept: bodies in `blobs`, everything else in `database`."""

    blobs: Bodies
    database: Database

    def close(self) -> None:
        """Close the database's connections and end the store's threads."""
        self.blobs.close()
        self.database.close()
