"""Effects of a bucket's own rules on bodies: versions, object lock, lifecycle rules. Pure.

Parses the answers of S3 (GetBucketVersioning, GetObjectLockConfiguration and
GetBucketLifecycleConfiguration), whose elements may have a namespace.
"""

from dataclasses import dataclass
from typing import Final

from lxml import etree

# Objects there can be read only after a restoration of hours.
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class RuleEffects:
    """Rules that lose mail, and rules that cost space or may be unintended, a line each."""

    losses: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def effects_of_rules(
    prefix: str,
    *,
    versioning: bytes | None = None,
    lock: bytes | None = None,
    lifecycle: bytes | None = None,
) -> RuleEffects:
    """Judge the answers, None for absent settings. Raises ValueError for invalid XML."""
    folder = f"{prefix}/" if prefix else ""
    losses, ends_versions = [], False
    for rule in _all(lifecycle, "Rule"):
        if _text(rule, "Status") != "Enabled" or not _meets(rule, folder):
            continue
        name = _text(rule, "ID") or "without a name"
        ends_versions = ends_versions or _first(rule, "NoncurrentVersionExpiration") is not None
        expiration = _first(rule, "Expiration")
        if expiration is not None and (_text(expiration, "Days") or _text(expiration, "Date")):
            losses.append(
                f"lifecycle rule {name} deletes bodies of messages: mail would be lost; "
                f"exclude {folder or 'the bucket'} from it"
            )
        kinds = {_text(one, "StorageClass") for one in _all_of(rule, "Transition")}
        if archives := sorted(kinds & _ARCHIVES):
            losses.append(
                f"lifecycle rule {name} moves bodies of messages to {archives[0]}, where they "
                f"cannot be read; exclude {folder or 'the bucket'} from it"
            )
    doubts = []
    status = _text_of(versioning, "Status")
    if status and not ends_versions:
        doubts.append(
            f"versioning of the bucket is on ({status}): deleted bodies stay as old versions, and "
            f"no space is freed; set a lifecycle rule on {folder or 'the bucket'} with "
            "NoncurrentVersionExpiration (for example 14 days) and ExpiredObjectDeleteMarker"
        )
    for retention in _all(lock, "DefaultRetention"):
        time = _text(retention, "Days") or _text(retention, "Years")
        unit = "days" if _text(retention, "Days") else "years"
        doubts.append(
            f"object lock keeps every object of the bucket for {time} {unit}: deleted bodies free "
            "no space before"
        )
    return RuleEffects(tuple(losses), tuple(doubts))


def upload_of(begun: bytes) -> str:
    """Identifier of a started multipart upload; '' if absent."""
    return _text_of(begun, "UploadId")


def _meets(rule: etree._Element, folder: str) -> bool:
    """True if a rule applies to objects of a folder; our objects have no tags."""
    if _first(rule, "Tag") is not None:
        return False
    found = _text(rule, "Prefix")
    return found.startswith(folder) or folder.startswith(found)


def _parsed(answer: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        return etree.fromstring(answer, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError("the answer is no XML") from error


def _all(answer: bytes | None, name: str) -> list[etree._Element]:
    return [] if answer is None else _all_of(_parsed(answer), name)


def _all_of(element: etree._Element, name: str) -> list[etree._Element]:
    return list(element.iter(f"{{*}}{name}"))


def _first(element: etree._Element, name: str) -> etree._Element | None:
    return next(element.iter(f"{{*}}{name}"), None)


def _text(element: etree._Element, name: str) -> str:
    found = _first(element, name)
    return "" if found is None else (found.text or "").strip()


def _text_of(answer: bytes | None, name: str) -> str:
    return "" if answer is None else _text(_parsed(answer), name)
