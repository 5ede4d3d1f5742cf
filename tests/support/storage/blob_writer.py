"""Child process for the tests of the blob store: seals drafts until it is done or killed.

`python -m tests.support.storage.blob_writer ROOT SEED` seals groups of drafts for ever, and prints
the name of each durable blob on a line. With a third argument, the largest file size in octets, it
seals a single group whose second draft exceeds that size, and prints the outcomes.
"""

import random
import resource
import sys
from pathlib import Path

from mailstore.blobs.file_store import FileBlobStore
from mailstore.sealed.blob_format import HEADER
from mailstore.sealed.draft import MEMORY_LIMIT, Draft
from tests.support.storage.blobs import form


def write_for_ever(store: FileBlobStore, chance: random.Random) -> None:
    while True:
        drafts = []
        for _ in range(chance.randint(1, 12)):
            draft = store.draft()
            # A third of them go to a file while written, the others when sealed.
            size = chance.choice((200, 20_000, MEMORY_LIMIT * 2)) + chance.randint(0, 1000)
            while draft.size < size:
                draft.write(chance.randbytes(min(50_000, size - draft.size)))
            drafts.append(draft)
        for outcome in store.seal(drafts):
            print(outcome, flush=True)


def write_past_the_limit(store: FileBlobStore, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def draft(size: int) -> Draft:
        made = store.draft()
        made.write(b"x" * size)
        return made

    limit -= HEADER
    for outcome in store.seal([draft(limit), draft(limit + 1), draft(limit - 1)]):
        print(type(outcome).__name__, outcome, flush=True)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    if len(sys.argv) == 3:
        blobs = FileBlobStore(root, form("encrypted", root.parent))
        write_for_ever(blobs, random.Random(int(sys.argv[2])))
    else:
        blobs = FileBlobStore(root)
        write_past_the_limit(blobs, int(sys.argv[3]))
