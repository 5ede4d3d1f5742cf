"""A criterion of a message from the facts known of it, in three values. Pure.

None: not known yet. So a search reads a body only if the facts that cost less leave it open.
"""

from collections.abc import Callable, Iterator, Sequence

from mailstore.search import criteria as c
from mailstore.search.criteria import Criterion, Field, Holds

_FIELDS = {
    "from": Field.FROM,
    "to": Field.TO,
    "cc": Field.CC,
    "bcc": Field.BCC,
    "subject": Field.SUBJECT,
}
_OF_TEXT = (*_FIELDS.values(), Field.ATTACHMENTS)


def decide(criterion: Criterion, known: Callable[[Criterion], bool | None]) -> bool | None:
    """True, False, or None if it depends on facts that are not known.

    `known` is asked first, for whole parts of the tree too.
    """
    found = known(criterion)
    if found is not None:
        return found
    match criterion:
        case c.All():
            return True
        case c.And(parts):
            return _all(parts, known)
        case c.Or(parts):
            some = _all([c.Not(part) for part in parts], known)
            return None if some is None else not some
        case c.Not(part):
            inner = decide(part, known)
            return None if inner is None else not inner
        case _:
            return None


def _all(parts: Sequence[Criterion], known: Callable[[Criterion], bool | None]) -> bool | None:
    found: bool | None = True
    for part in parts:
        one = decide(part, known)
        if one is False:
            return False
        if one is None:
            found = None
    return found


def leaves(criterion: Criterion) -> Iterator[Criterion]:
    """All criteria of a tree that are no And, Or or Not."""
    match criterion:
        case c.And(parts) | c.Or(parts):
            for part in parts:
                yield from leaves(part)
        case c.Not(part):
            yield from leaves(part)
        case _:
            yield criterion


def cheaper(criterion: Criterion) -> Criterion:
    """The same criterion, so that texts of search blocks are looked at before bodies."""
    match criterion:
        case c.And(parts):
            return c.And(tuple(map(cheaper, parts)))
        case c.Or(parts):
            return c.Or(tuple(map(cheaper, parts)))
        case c.Not(part):
            return c.Not(cheaper(part))
        case c.AnyText(text) | c.Body(text) if not text.strip():
            return c.All()
        case c.AnyText(text):
            return c.Or((*(Holds(field, text) for field in _OF_TEXT), criterion))
        case c.HeaderField(name, text) if name.lower() in _FIELDS:
            return Holds(_FIELDS[name.lower()], text)
        case _:
            return criterion
