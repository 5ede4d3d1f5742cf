"""Holds keys and the place of bodies to the mark of the store, and marks a store that has none.

Every opening of a store verifies; what begins to work on it (`db upgrade`, the start of the daemon)
marks.  Of two machines that mark at once one is first, and the other is held to that mark
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
    """Refuse keys, of that file, and a place of bodies, that are another store's.

    With `anew` the store is marked where it is not.  Raises SettingsError and StoreUnavailable.
    """
    with database.read() as connection:
        found = store_mark.read(connection)
        begun = store_mark.has_messages(connection)
    fresh = found is None
    if found is None:
        # Keys of bodies that are here were looked for already.  Where messages have none at all,
        # nothing says whose keys these are.
        if not anew or (begun and is_empty(bodies)):
            return
        name = _of_before(database, bodies) or store_mark.new_name()
        found = store_mark.put(database, store_mark.seal(name, bodies.form))
    try:
        store = store_mark.unseal(found, bodies.form.keys)
        keyed = store_mark.key_of(found) is not None
    except KeyMissing:
        if bodies.form.encrypt:
            raise refusal(settings, keys) from None
        return  # nothing is encrypted now: each body that needs the key says so
    except BlobDamaged as error:
        raise SettingsError(
            f"{settings.origin}: storage.database: the mark of the store is damaged: {error}; "
            "put the row of the table store_mark back from a backup, or remove it and run: "
            f"mssante --config {settings.origin} db upgrade"
        ) from error
    _verify_place(settings, bodies, store, mark_it=anew and (fresh or not begun))
    if anew and not keyed and bodies.form.key is not None:
        store_mark.replace(database, found, store_mark.seal(store, bodies.form))
        verify(settings, keys, database, bodies)  # somebody else may have been first


def refusal(settings: Settings, keys: Path) -> SettingsError:
    """The refusal of keys that cannot open the mark."""
    problem = "not the key file of this store" if keys.exists() else "no such file"
    return SettingsError(
        f"{settings.origin}: storage.keys: {keys}: {problem}; put it back from a backup, "
        "or copy it from another machine of this store"
    )


def has_key(database: Database) -> bool:
    """Whether the store is marked with a key, so that no other first one may be made."""
    with database.read() as connection:
        found = store_mark.read(connection)
    return found is not None and store_mark.key_of(found) is not None


def reseal(database: Database, bodies: Bodies) -> None:
    """Seal the mark as new bodies are, once all of them are: older keys are not needed then."""
    with database.read() as connection:
        found = store_mark.read(connection)
    if found is not None:
        try:
            store = store_mark.unseal(found, bodies.form.keys)
        except KeyMissing:
            if bodies.form.encrypt:
                raise
            store = bodies.place_mark() or store_mark.new_name()  # the key is given up
        store_mark.replace(database, found, store_mark.seal(store, bodies.form))


def put_place(database: Database, bodies: Bodies) -> None:
    """Mark the place of bodies where it is not marked: somebody says that it is the right one."""
    with database.read() as connection:
        found = store_mark.read(connection)
    if found is not None and bodies.place_mark() is None:
        with suppress(KeyMissing):  # nothing is encrypted now, and the key is given up
            bodies.put_place_mark(store_mark.unseal(found, bodies.form.keys))


def doubts(settings: Settings, database: Database, bodies: Bodies) -> list[str]:
    """Doubts, a line each: a place of bodies that is not the one of before."""
    with database.read() as connection:
        marked = store_mark.read(connection) is not None
        begun = store_mark.has_messages(connection)
    if not begun or (marked and bodies.place_mark() is not None):
        return []
    if not marked and not is_empty(bodies):
        return []
    problem = (
        f"{bodies.place} has not the mark of this store, whose database has messages: is the "
        "disk mounted, the bucket and its prefix the one of before? If it is the right place, run: "
    )
    return [f"{settings.origin}: storage: {problem}mssante --config {settings.origin} db upgrade"]


def is_empty(bodies: Bodies) -> bool:
    """Whether no body at all is here, in the database or elsewhere."""
    return next(bodies.names(), None) is None


def _of_before(database: Database, bodies: Bodies) -> str | None:
    """The name of the place, if it has bodies of ours: the database is an older one, restored."""
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
            f"{settings.origin}: storage: {bodies.place} has the bodies of another store, and each "
            "would free what the other needs; give this one a folder or a prefix of its own, or if "
            "they are its own, remove the file or object `store` there"
        )
