"""Mark of the store: verifies the keys and the place of bodies, and marks a new store.

The mark is verified whenever a store is opened.  Only `db upgrade` and the start of the daemon set
it.  If two machines set it at once, the first mark is valid for both
(docs/decisions/0061-the-mark-of-a-store.md).
"""

from contextlib import suppress
from pathlib import Path

from mailstore.blobs import store_mark
from mailstore.blobs.bodies import Bodies
from mailstore.db.database import Database
from mailstore.errors import BlobDamaged, KeyMissing

from ..settings.model import Settings, SettingsError


def verify(
    settings: Settings, keys: Path, database: Database, bodies: Bodies, *, anew: bool = False
) -> None:
    """Refuse a key file or a place of bodies that belongs to another store.

    `keys`: path of the key file, for messages.  `anew`: set the mark if it is missing.
    Raises SettingsError and StoreUnavailable.
    """
    with database.read() as connection:
        found = store_mark.read(connection)
        begun = store_mark.has_messages(connection)
    fresh = found is None
    if found is None:
        # The keys of existing bodies were checked before.  If there are messages but no bodies,
        # nothing shows whether these keys are right: no mark is set.
        if not anew or (begun and is_empty(bodies)):
            return
        name = _of_before(database, bodies) or store_mark.new_name()
        found = store_mark.put(database, store_mark.seal(name, bodies.blob_format))
    try:
        store = store_mark.unseal(found, bodies.blob_format.keys)
        keyed = store_mark.key_of(found) is not None
    except KeyMissing:
        if bodies.blob_format.encrypt:
            raise refusal(settings, keys) from None
        return  # encryption is off: an error comes only with a body that needs the key
    except BlobDamaged as error:
        raise SettingsError(
            f"{settings.origin}: storage.database: damaged mark of the store: {error}; "
            "restore the row of table store_mark from a backup, or remove it and run: "
            f"mssante --config {settings.origin} db upgrade"
        ) from error
    _verify_place(settings, bodies, store, mark_it=anew and (fresh or not begun))
    if anew and not keyed and bodies.blob_format.key is not None:
        store_mark.replace(database, found, store_mark.seal(store, bodies.blob_format))
        verify(settings, keys, database, bodies)  # another machine may have been first


def refusal(settings: Settings, keys: Path) -> SettingsError:
    """Error for a key file that cannot unseal the mark."""
    problem = "key file of another store" if keys.exists() else "no such file"
    return SettingsError(
        f"{settings.origin}: storage.keys: {keys}: {problem}; restore it from a backup, "
        "or copy it from another machine of this store"
    )


def has_key(database: Database) -> bool:
    """Whether the mark is sealed with a key, so that no new first key may be made."""
    with database.read() as connection:
        found = store_mark.read(connection)
    return found is not None and store_mark.key_of(found) is not None


def reseal(database: Database, bodies: Bodies) -> None:
    """Seal the mark with the present key.

    Call it after all bodies were rewritten: the older keys are then not needed any more.
    """
    with database.read() as connection:
        found = store_mark.read(connection)
    if found is not None:
        try:
            store = store_mark.unseal(found, bodies.blob_format.keys)
        except KeyMissing:
            if bodies.blob_format.encrypt:
                raise
            store = bodies.place_mark() or store_mark.new_name()  # the key is abandoned
        store_mark.replace(database, found, store_mark.seal(store, bodies.blob_format))


def put_place(database: Database, bodies: Bodies) -> None:
    """Mark an unmarked place of bodies: a person has confirmed that it is the right place."""
    with database.read() as connection:
        found = store_mark.read(connection)
    if found is not None and bodies.place_mark() is None:
        with suppress(KeyMissing):  # encryption is off and the key is abandoned
            bodies.put_place_mark(store_mark.unseal(found, bodies.blob_format.keys))


def doubts(settings: Settings, database: Database, bodies: Bodies) -> list[str]:
    """Doubts, one line each: the place of bodies may be the wrong place."""
    with database.read() as connection:
        marked = store_mark.read(connection) is not None
        begun = store_mark.has_messages(connection)
    if not begun or (marked and bodies.place_mark() is not None):
        return []
    if not marked and not is_empty(bodies):
        return []
    problem = (
        f"mark of this store missing in {bodies.place}, but its database has messages: check the "
        "mount of the disk, or the bucket and its prefix; if the place is right, run: "
    )
    return [f"{settings.origin}: storage: {problem}mssante --config {settings.origin} db upgrade"]


def is_empty(bodies: Bodies) -> bool:
    """Whether there is no body at all, in the database or outside."""
    return next(bodies.names(), None) is None


def _of_before(database: Database, bodies: Bodies) -> str | None:
    """Name on the place if it holds bodies of this database: an old backup was restored."""
    name = bodies.place_mark()
    if name is None or not store_mark.is_name(name):
        return None
    with database.read() as connection:
        large = store_mark.large_bodies(connection)
    return name if any(map(bodies.blobs.exists, large)) else None


def _verify_place(settings: Settings, bodies: Bodies, store: str, *, mark_it: bool) -> None:
    found = bodies.place_mark()
    if found == store:
        return
    if mark_it and (found is None or next(bodies.blobs.names(), None) is None):
        bodies.put_place_mark(store)
        found = bodies.place_mark()
    if found is not None and found != store:
        raise SettingsError(
            f"{settings.origin}: storage: {bodies.place} holds the bodies of another store: two "
            "stores there would delete each other's bodies; set another folder or prefix, or, if "
            "the bodies belong to this store, remove the file or object `store` there"
        )
