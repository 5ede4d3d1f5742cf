"""Messages of a mailbox listed by facts and, for those who may read it, by content.

Nothing is permitted here: callers ask for the right to content before they give a filter on it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mailstore.blobs.store import Store
from mailstore.db.dialect import keep_snapshot
from mailstore.folders.keywords import KeywordReader, Keywords
from mailstore.folders.tree import Role, list_folders
from mailstore.mail.entry_list import EntryFilter, ListedEntry, count_listed, list_newest
from mailstore.mail.reader import open_reader
from mailstore.mail.view import open_mailbox
from mailstore.search.criteria import And, AnyText, Criterion, Field, Holds, InFolders

from ...assembly.clock import utc_now
from ...assembly.storage import row_seal
from .folder_names import FolderNames, special_role


@dataclass(frozen=True, slots=True)
class ContentFilter:
    """Texts that a message has: in the field From, in the subject, anywhere; '' for any."""

    sender: str = ""
    subject: str = ""
    text: str = ""

    @property
    def given(self) -> bool:
        """True if there is a text."""
        return bool(self.sender or self.subject or self.text)

    def criteria(self) -> list[Criterion]:
        """Criteria of a search that say the same."""
        found: list[Criterion] = []
        if self.sender:
            found.append(Holds(Field.FROM, self.sender))
        if self.subject:
            found.append(Holds(Field.SUBJECT, self.subject))
        if self.text:
            found.append(AnyText(self.text))
        return found


@dataclass(frozen=True, slots=True)
class Terms:
    """Which messages to list: by facts, in the folder of a path, by content; None: any.

    `after`, `before`: entries, exclusive.
    """

    facts: EntryFilter
    content: ContentFilter
    folder: str | None = None
    after: int = 0
    before: int | None = None
    limit: int = 100

    @property
    def reads_content(self) -> bool:
        """True if they ask about content; names of folders that a person has made are content."""
        own = self.folder is not None and special_role(self.folder) is None
        return own or self.content.given


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of messages, the newest first; `more`: how many older ones there are."""

    entries: Sequence[ListedEntry]
    more: int
    folders: FolderNames
    keywords: Keywords


def list_messages(
    store: Store, mailbox_id: int, terms: Terms, account_id: int | None = None
) -> Listed:
    r"""List messages.  `account_id`: the person whose \Seen counts where it is private.

    A look by facts changes nothing.  A search of content places new mail, as a client's would.
    Raises NotFound for the folder, StoreUnavailable.
    """
    facts = terms.facts
    if terms.content.given:
        open_mailbox(store, mailbox_id, row_seal(store), utc_now).look()
        facts = replace(facts, entry_ids=_search(store, mailbox_id, terms, account_id))
    with store.database.read() as conn:
        keep_snapshot(conn)
        seal = row_seal(store)
        folders = FolderNames(list_folders(conn, mailbox_id, seal))
        facts = _within(facts, folders, terms.folder)
        found = list_newest(
            conn,
            mailbox_id,
            facts,
            after=terms.after,
            before=terms.before,
            limit=terms.limit,
            account_id=account_id,
        )
        more = 0
        if len(found) == terms.limit:
            more = count_listed(
                conn,
                mailbox_id,
                facts,
                after=terms.after,
                before=found[-1].id,
                account_id=account_id,
            )
        keywords = KeywordReader(mailbox_id, seal).read(conn)
    return Listed(found, more, folders, keywords)


def _search(store: Store, mailbox_id: int, terms: Terms, account_id: int | None) -> Collection[int]:
    criteria = terms.content.criteria()
    seal = row_seal(store)
    if terms.folder is not None:
        with store.database.read() as conn:
            folders = FolderNames(list_folders(conn, mailbox_id, seal))
        criteria.insert(0, InFolders((folders.find(terms.folder).id,)))
    reader = open_reader(store, mailbox_id, seal, account_id)
    return [hit.entry_id for hit in reader.search(And(tuple(criteria)))]


def _within(facts: EntryFilter, folders: FolderNames, path: str | None) -> EntryFilter:
    if path is None:
        return facts
    role = special_role(path)
    # Before the first look a mailbox has no folders, and its mail is in the inbox.
    found = folders.find(path) if role is None else folders.special(role)
    ids = () if found is None else (found.id,)
    return replace(facts, folder_ids=ids, new=role is Role.INBOX)
