"""Program that takes messages, as `python -m` with URL, MAILBOX, ACCOUNT and N.

It takes each of the first N messages of these tests, and prints the number of each that it got,
after the commit.
"""

import sys
from datetime import timedelta

from mailstore.db.database import Database
from mailstore.folders.lock import lock_mailbox
from mailstore.teams.assignments import take
from mailstore.teams.model import AlreadyTaken
from tests.support.clock import NOW
from tests.support.people.teams import message_id


def take_one(database: Database, mailbox: int, account: int, number: int) -> bool:
    """Take a message; False if another person has it."""
    try:
        with database.write() as connection:
            lock = lock_mailbox(connection, mailbox)
            take(lock, message_id(number), account, now=NOW, until=NOW + timedelta(hours=1))
    except AlreadyTaken:
        return False
    return True


def main(url: str, mailbox: int, account: int, messages: int) -> None:
    """Take all that are free."""
    database = Database(url)
    for number in range(1, messages + 1):
        if take_one(database, mailbox, account, number):
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
