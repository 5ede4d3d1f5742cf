"""Child process that changes a mailbox until it has done its acts, or is killed.

`python -m tests.support.storage.mailbox_writer URL FOLDER MAILBOX SEED ACTS` prints a line of JSON
for each act after its return. It touches no message but its own: so what it has been told must stay
true, whatever other writers do.
"""

import json
import random
import sys
from contextlib import closing
from pathlib import Path

from mailstore.db.database import Database
from mailstore.folders.flags import FlagMode
from mailstore.mail.view import MailboxView
from tests.support.storage.mail_house import MailHouse, open_house


class Writer:
    """A session, and its messages: folder and UID by message id."""

    def __init__(self, house: MailHouse, view: MailboxView, chance: random.Random) -> None:
        self.house, self.view, self.chance = house, view, chance
        self.folders = [one.id for one in view.folders()]
        self.own: dict[str, tuple[int, int]] = {}

    def act(self) -> None:
        """Append, or do something with a message of its own."""
        acts = [self.append, self.move, self.move, self.expunge, self.flag, self.receive]
        self.chance.choice(acts if len(self.own) > 2 else [self.append, self.receive])()

    def append(self) -> None:
        """Append a message."""
        folder = self.chance.choice(self.folders)
        new = self.house.letter(self.view, b"x" * self.chance.randint(1, 99))
        (uid,) = self.view.append(folder, [new]).uids
        self.own[new.id] = folder, uid
        self._say("append", new.id, folder, uid)

    def move(self) -> None:
        """Move a message."""
        name, (folder, uid) = self.chance.choice(list(self.own.items()))
        target = self.chance.choice(self.folders)
        ((_, new),) = self.view.move(folder, [uid], target).pairs
        self.own[name] = target, new
        self._say("move", name, target, new)

    def expunge(self) -> None:
        """Expunge a message."""
        name, (folder, uid) = self.chance.choice(list(self.own.items()))
        assert self.view.expunge(folder, [uid]) == (uid,)
        del self.own[name]
        self._say("expunge", name, folder, uid)

    def flag(self) -> None:
        """Set a flag."""
        name, (folder, uid) = self.chance.choice(list(self.own.items()))
        assert self.view.set_flags(folder, [uid], FlagMode.ADD, ["\\Flagged"]).done == (uid,)
        self._say("flag", name, folder, uid)

    def receive(self) -> None:
        """Let new mail come, and look."""
        (name,) = self.house.deliver()
        self.view.look()
        self._say("receive", name, 0, 0)

    def _say(self, act: str, name: str, folder: int, uid: int) -> None:
        print(json.dumps([act, name, folder, uid]), flush=True)


def main(url: str, folder: str, mailbox: str, seed: str, acts: str) -> None:
    """Do the acts."""
    with closing(Database(url)) as database:
        # Ids of messages apart from those of other writers.
        house = MailHouse(
            open_house(database, Path(folder)), int(mailbox), count=int(seed) * 1_000_000
        )
        writer = Writer(house, house.view(), random.Random(int(seed)))
        for _ in range(int(acts)):
            writer.act()
        house.store.blobs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
