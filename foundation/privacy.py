"""Mask for patients' identifiers in all texts of logs, journal, listings and errors.

Pure. A patient's address contains the INS, which is health data (DOMAIN §1.5). Masked are the local
part of an address at the patients' domain, and every text that has the form of an INS with a right
key, whatever its source: a peer's reply, a typed reason, a header, an error. Known forms: bare or
quoted; in groups with blanks, dots or dashes; with the word `clé` before the key; Corsican; xtext
(RFC 3461 §4, RFC 6533 §3); percent-encoded; quoted-printable; HTML entities; encoded words (RFC
2047). In doubt, the text is masked.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from quopri import decodestring
from typing import Final

from foundation.ins import PATIENT_DOMAIN, is_ins

MASK: Final = "***"

INS_LENGTH: Final = 15
_ENOUGH_DIGITS: Final = INS_LENGTH - 1  # Corsican INS have a letter
_KNOWN_LOCAL: Final = 6  # shortest local part that is masked without its domain, in characters

# Separators between local part and domain: plain, xtext (RFC 3461 §4, RFC 6533 §3), URL, and the
# forms of list servers, which put an address into a local part of their own.
_AT_PATIENT: Final = re.compile(
    r"(?:[ \t]{0,9}(?:@|\+40|%40|\\x\{40\}|&#64;|&commat;)[ \t]{0,9}|[=%!])"
    + re.escape(PATIENT_DOMAIN),
    re.ASCII | re.IGNORECASE,
)
_KEYWORD: Final = re.compile(r"(?:[A-Za-z]+=)?[A-Za-z][A-Za-z0-9-]*[:;]")  # TO:, ORCPT=rfc822;

# A digit, a digit that may be a letter in Corsica, and the separators of people and encodings.
_DIGIT: Final = r"(?:\d|[+%=]3\d|\\x\{3\d\}|&\#(?:4[89]|5[0-7]|x3\d);)"
_LETTER: Final = (
    rf"(?:{_DIGIT}|[ABab]|[+%=][46][12]|\\x\{{[46][12]\}}|&\#(?:6[56]|9[78]|x[46][12]);)"
)
_BLANK: Final = (
    r"(?:[ \t._/'\"\-\u00a0\u00ad\u2000-\u2015\u202a-\u202f\u2060-\u2069\ufeff]"
    r"|[%+=]20|\\x\{20\}|[%=]C2[%=]A0|&nbsp;|&\#(?:160|32|xA0|x20);|\\)"
)
_BETWEEN: Final = rf"{_BLANK}{{0,2}}"
_TO_KEY: Final = rf"(?:{_BLANK}|[(:,]){{0,3}}(?:(?:cl[eé]|key)(?:{_BLANK}|[:=]){{0,3}})?"
_INS: Final = re.compile(
    rf"(?<!\d)(?=((?:{_DIGIT}{_BETWEEN}){{6}}{_LETTER}{_BETWEEN}(?:{_DIGIT}{_BETWEEN}){{5}}"
    rf"{_DIGIT}{_TO_KEY}{_DIGIT}{_BETWEEN}{_DIGIT})(?!\d))",
    re.IGNORECASE,
)
_NOISE: Final = re.compile(rf"{_BLANK}|[(:,]|cl[eé]|key", re.IGNORECASE)
_CODED: Final = re.compile(r"[+%=]([346][0-9])|\\x\{([346][0-9])\}|&#x([346][0-9]);", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&#([0-9]{2,3});")
_WORD: Final = re.compile(r"=\?[^?\s]{1,60}\?([BbQq])\?([^?\s]{1,500})\?=")
_DIGITS: Final = b"0123456789"
_IDENTIFIER: Final = re.compile(r"[0-9a-f]+")
_ID_LENGTHS: Final = (32, 64)  # of identifiers (UUID) and digests (SHA-256), in lower case
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_SOME_DIGIT: Final = re.compile(r"\d")
_NOT_PLAIN: Final = re.compile(r"[^0-9a-z]+")


def mask(text: str) -> str:
    """Return the text without the local parts of patients' addresses and without any INS.

    If a quoted string or an angle bracket begins before the patients' domain on its line, all text
    from there to the domain goes. Identifiers of messages and sessions stay, whatever digits they
    have.
    """
    if not suspicious(text):
        return text
    text = _without_numbers(text)
    return _without_local_parts(text) if "patient" in text.lower() else text


def mask_of(text: str, addresses: Iterable[str]) -> str:
    """Mask a text, and also the local parts of those `addresses` that are patients'.

    A peer may name its recipient without the domain, and some local parts are not an INS with a
    right key (DOMAIN §1.5): the caller, which has the message at hand, knows them.
    """
    if not text:
        return text
    text = mask(text)
    for address in addresses:
        local, _, domain = address.rpartition("@")
        if domain.lower() == PATIENT_DOMAIN:
            text = _without(text, local)
    return text


def suspicious(text: str) -> bool:
    """True if a text may contain a patient's identifier; fast: every log line passes here."""
    size = len(text)
    if size < INS_LENGTH or (size in _ID_LENGTHS and _IDENTIFIER.fullmatch(text)):
        return False
    if not text.isascii():
        return True
    rest = text.encode("ascii").translate(None, _DIGITS)
    return size - len(rest) >= _ENOUGH_DIGITS or "=?" in text or "patient" in text.lower()


def _without_numbers(text: str) -> str:
    if "=?" in text:
        text = _WORD.sub(_decoded_word, text)
    pieces, done = [], 0
    for found in _INS.finditer(text):
        begin, end = found.span(1)
        if not _in_identifier(text, begin, end) and _is_ins(found[1]):
            if begin >= done:
                pieces += [text[done:begin], MASK]
            done = max(done, end)  # overlapping candidates: either may be a patient's, so both go
    return "".join([*pieces, text[done:]]) if pieces else text


def _decoded_word(found: re.Match[str]) -> str:
    """Return an encoded word unchanged if it contains no patient's identifier, else the mask."""
    octets = found[2].encode("ascii", "replace")
    try:
        plain = b64decode(octets) if found[1] in "Bb" else decodestring(octets, header=True)
    except binascii.Error:
        return found[0]
    said = plain.decode("utf-8", "replace")
    return found[0] if mask(said) == said else MASK


def _is_ins(candidate: str) -> bool:
    plain = _NOISE.sub("", _CODED.sub(_code, _ENTITY.sub(_entity, candidate)))
    # Decimal digits of every script, as in `\d`.
    return is_ins("".join(str(int(one)) if one.isdecimal() else one for one in plain))


def _code(found: re.Match[str]) -> str:
    return chr(int(found[1] or found[2] or found[3], 16))


def _entity(found: re.Match[str]) -> str:
    return chr(int(found[1]))


def _in_identifier(text: str, begin: int, end: int) -> bool:
    """True within a run of hexadecimal digits that is an identifier or a digest.

    No other run hides a patient. The search stops at the longest length, so runs cost little.
    """
    longest = _ID_LENGTHS[-1]
    while begin and end - begin <= longest and text[begin - 1] in _HEX:
        begin -= 1
    while end < len(text) and end - begin <= longest and text[end] in _HEX:
        end += 1
    return end - begin in _ID_LENGTHS and _IDENTIFIER.fullmatch(text, begin, end) is not None


def _without_local_parts(text: str) -> str:
    pieces, done = [], 0
    for found in _AT_PATIENT.finditer(text):
        begin = _local_part(text, done, found.start())
        pieces += [text[done:begin], MASK if begin < found.start() else "", found[0]]
        done = found.end()
    return "".join([*pieces, text[done:]])


def _local_part(text: str, floor: int, end: int) -> int:
    """Return the start of the local part that ends at `end`, not before `floor`."""
    line = max(floor, text.rfind("\n", floor, end) + 1, text.rfind("\r", floor, end) + 1)
    quote = text.find('"', line, end)
    bracket = text.rfind("<", line, end)
    begins = [quote] if quote >= 0 else []
    if bracket > text.rfind(">", line, end):
        begins.append(bracket + 1)
    if begins:
        return min(begins)
    begin = end
    # Other blanks than these may be part of a local part (RFC 6531 §3.3).
    while begin > line and text[begin - 1] not in " \t\v\f<>":
        begin -= 1
    keyword = _KEYWORD.match(text, begin, end)
    begin = keyword.end() if keyword else begin
    masked = text.rfind(MASK, begin, end)
    # A text masked before may have a word before it: `recipient=***@…`.
    if masked == end - len(MASK) and not _SOME_DIGIT.search(text, begin, masked):
        return masked
    return begin


def _without(text: str, local: str) -> str:
    """Remove a local part from the text, also with blanks or encodings in it."""
    plain = _NOT_PLAIN.sub("", local.lower())
    if len(plain) < _KNOWN_LOCAL or plain not in _plain(text):
        return text
    units = (rf"(?:{re.escape(one)}|(?:[+%=]|\\x\{{){ord(one):02x}\}}?)" for one in plain)
    return re.sub(r"[^0-9a-z]{0,3}?".join(units), MASK, text, flags=re.IGNORECASE)


def _plain(text: str) -> str:
    """Letters and digits alone, in lower case, decoded."""
    return _NOT_PLAIN.sub("", _CODED.sub(_code, text.lower()))
