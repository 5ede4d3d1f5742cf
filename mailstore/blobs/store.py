"""A mailstore as a whole: bodies and database."""

from dataclasses import dataclass

from mailstore.blobs.bodies import Bodies
from mailstore.db.database import Database


@dataclass(frozen=True, slots=True)
class Store:
    """The place of messages: bodies in `blobs`, the rest in `database`."""

    blobs: Bodies
    database: Database

    def close(self) -> None:
        """Close the database's connections and stop the store's threads."""
        self.blobs.close()
        self.database.close()
