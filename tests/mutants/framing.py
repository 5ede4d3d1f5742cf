"""Guards of framing: where a message ends, and octets that no message may have."""

from tests.mutants.model import Mutant

_LINES = ("test_a_line_checker_finds_what_the_naive_reading_finds",)
_CHUNKS = ("test_faults_of_chunks",)
_UNEVEN = (
    "test_a_fault_among_lines_of_one_length_is_left_to_the_slow_way",
    "test_lines_that_are_too_long_are_left_to_the_slow_way",
    "test_what_is_found_does_not_depend_on_the_lines_about_it",
)

MUTANTS = (
    Mutant(
        "framing: a bare LF is found",
        r'rb"(?<!\r)\n|\r(?!\n)|\0"',
        r'rb"\r(?!\n)|\0"',
        ("test_the_first_violation_is_the_one_that_is_named",),
    ),
    Mutant(
        "framing: a bare CR is found",
        r'rb"(?<!\r)\n|\r(?!\n)|\0"',
        r'rb"(?<!\r)\n|\0"',
        ("test_the_first_violation_is_the_one_that_is_named",),
    ),
    Mutant(
        "framing: a NUL is found",
        'not in _CLEAN or b"\\0" in piece:',
        "not in _CLEAN:",
        ("test_the_first_violation_is_the_one_that_is_named",),
    ),
    Mutant(
        "framing: a line that is too long is found",
        "            if found < 0:\n                return True\n",
        "            if found < 0:\n                return False\n",
        ("test_a_line_of_998_octets_passes_and_one_of_999_does_not_wherever_cut",),
    ),
    Mutant(
        "framing: the length of a line goes on over pieces",
        "        start = -self._open_line  #",
        "        start = 0  #",
        ("test_a_line_of_998_octets_passes_and_one_of_999_does_not_wherever_cut",),
    ),
    Mutant(
        "framing: even lines have no stray in them",
        'return (0, 0) if b"\\r" in rest or b"\\n" in rest or b"\\0" in rest else (start, end)',
        "return start, end",
        _UNEVEN,
    ),
    Mutant(
        "framing: even lines end with CRLF",
        '    if rest[length - 2 :: length] != b"\\r" * lines:\n',
        "    if False:\n",
        _UNEVEN,
    ),
    Mutant(
        "framing: even lines are not too long",
        '    if middle < 0 or not len(b"\\r\\n") <= length <= MAX_TEXT_LINE + len(b"\\r\\n"):\n',
        '    if middle < 0 or not len(b"\\r\\n") <= length:\n',
        _UNEVEN,
    ),
    Mutant(
        "framing: CRLF.CRLF alone ends a message",
        '_END: Final = b"\\r\\n.\\r\\n"\n',
        '_END: Final = b"\\n.\\r\\n"\n',
        ("test_no_smuggling_sequence_ends_a_message",),
    ),
    Mutant(
        "framing: an end that is cut is held back",
        "            keep = _partial_end(data)\n",
        "            keep = 0\n",
        ("test_a_wire_is_decoded_the_same_however_it_is_cut",),
    ),
    Mutant(
        "framing: dots are undone",
        '            body = body.replace(_DOT, b"\\r\\n")\n',
        "            pass\n",
        ("test_dots_are_undone_and_the_end_is_found",),
    ),
    Mutant(
        "framing: dots are stuffed",
        'out.replace(b"\\r\\n.", b"\\r\\n..") if b"." in out else out',
        "out",
        ("test_stuffing_by_the_letter",),
    ),
    Mutant(
        "framing: stuffing holds a cut line end back",
        '        keep = next((n for n in (2, 1) if data.endswith(b"\\r\\n"[:n])), 0)\n',
        "        keep = 0\n",
        ("test_what_is_stuffed_decodes_to_itself",),
    ),
    Mutant(
        "framing: a message that is sent ends with CRLF",
        '        out = self._held if self._held.endswith(b"\\r\\n") else self._held + b"\\r\\n"\n',
        "        out = self._held\n",
        ("test_stuffing_by_the_letter", "test_what_is_stuffed_decodes_to_itself"),
    ),
    Mutant(
        "framing: a chunk may split a CRLF",
        '        self._held = b"\\r" if data.endswith(b"\\r") else b""\n',
        '        self._held = b""\n',
        ("test_chunks_are_octets_as_they_are_with_the_same_faults_wherever_cut",),
    ),
    Mutant(
        "framing: a bare CR at the end of chunks is found",
        '        held, self._held = self._held, b""\n',
        '        held, self._held = b"", b""\n',
        (*_CHUNKS, "test_only_a_last_cr_is_held_back_and_only_until_the_next_octet"),
    ),
    Mutant(
        "framing: a message with a fault is refused",
        "        if violation is not None:\n            self.problem = SmtpError(",
        "        if False:\n            self.problem = SmtpError(",
        ("test_dialogue[smuggling-", "test_dialogue[bdat_faults-"),
    ),
    Mutant(
        "framing: a message over the limit is refused as it comes",
        "self.problem = self.too_big if self._over else await _write(",
        "self.problem = await _write(",
        ("test_dialogue[too_big-", "test_dialogue[bdat_too_big-"),
    ),
    Mutant(
        "framing: a message without end is cut off",
        "        if self._read > self._limit * OVERRUN:\n",
        "        if False:\n",
        ("test_a_message_without_end_is_cut_off",),
    ),
    Mutant(
        "framing: a chunk far over the limit is not read",
        "        return self._read + octets > self._limit * OVERRUN\n",
        "        return False\n",
        ("test_dialogue[bdat_too_big-",),
    ),
    Mutant(
        "framing: after a chunk of unknown length nothing is read",
        "        raise Disconnected(error.reply) from None\n",
        "        raise\n",
        ("test_dialogue[bdat_syntax-",),
    ),
    Mutant(
        "framing: a chunk that is refused is read to its end",
        "        await _skip(session, chunk.size)\n        raise\n",
        "        raise\n",
        ("test_dialogue[bdat_order-",),
    ),
    Mutant(
        "framing: commands behind the end of a message are kept",
        "            source.inbound.unread(framed.rest)\n",
        "            pass\n",
        ("test_dialogue[pipelined-",),
    ),
    Mutant(
        "framing: commands in clear text behind STARTTLS are forgotten",
        "    session.inbound.clear()\n    session.tls_begun = True\n",
        "    session.tls_begun = True\n",
        ("test_dialogue[starttls_injection-",),
    ),
    Mutant(
        "framing: what has no certain end is not sent",
        "        if self._checker.violation is not None:\n            raise Unsendable",
        "        if False:\n            raise Unsendable",
        ("test_what_has_no_certain_end_is_not_sent",),
    ),
    Mutant(
        "framing: what is not of its size is not sent",
        "        if wrong_size:\n            raise StoreUnavailable",
        "        if False:\n            raise StoreUnavailable",
        ("test_what_is_not_of_its_size_is_not_sent",),
    ),
    Mutant(
        "framing: with a reply too many no message is sent",
        "        if not connection.quiet:\n            # After a reply too many",
        "        if False:\n            # After a reply too many",
        ("test_nothing_is_decided_by_a_fault",),
    ),
)
