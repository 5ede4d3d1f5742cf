"""The table of states and commands: complete, and as the RFCs require."""

import pytest

from relay.server.peer_service import PEERS
from relay.server.states import BDAT_LAST, COMMANDS, NO_TLS, OutOfOrder, SessionState, table
from relay.smtp.errors import Refused, SyntaxRefused


def test_each_row_has_a_cell_for_each_state() -> None:
    assert all(tuple(row) == tuple(SessionState) for row in COMMANDS.values())
    with pytest.raises(ValueError, match="shorter"):
        table({b"NOOP": (SessionState.CLEAR,)})


def test_each_command_has_a_handler_and_no_handler_is_without_a_command() -> None:
    assert PEERS.handlers.keys() == COMMANDS.keys() - {BDAT_LAST}


def test_every_state_can_be_reached() -> None:
    reached, before = {SessionState.CLEAR}, 0
    while len(reached) > before:
        before = len(reached)
        cells = (row[state] for row in COMMANDS.values() for state in tuple(reached))
        reached |= {cell for cell in cells if isinstance(cell, SessionState)}
    assert reached == set(SessionState)


def test_without_tls_nobody_gets_near_a_transaction() -> None:
    # DOMAIN §3.2 step 2
    for state in (SessionState.CLEAR, SessionState.GREETED):
        assert not state.has_tls
        for verb in (b"MAIL", b"RCPT", b"DATA", b"BDAT", BDAT_LAST):
            assert COMMANDS[verb][state] is NO_TLS


def test_tls_is_never_left() -> None:
    for row in COMMANDS.values():
        for state, cell in row.items():
            assert isinstance(cell, OutOfOrder) or cell.has_tls >= state.has_tls


@pytest.mark.parametrize(
    ("verb", "states"),
    [
        (b"STARTTLS", {SessionState.CLEAR, SessionState.GREETED}),
        (b"MAIL", {SessionState.READY}),
        (b"RCPT", {SessionState.SENDER, SessionState.RECIPIENTS}),
        (b"DATA", {SessionState.RECIPIENTS}),
        (b"BDAT", {SessionState.RECIPIENTS, SessionState.CHUNKS}),
        (BDAT_LAST, {SessionState.RECIPIENTS, SessionState.CHUNKS}),
    ],
)
def test_these_are_in_order_here_alone(verb: bytes, states: set[SessionState]) -> None:
    # RFC 3207 §4, RFC 5321 §4.1.4, RFC 3030 §2
    row = COMMANDS[verb]
    assert {state for state, cell in row.items() if isinstance(cell, SessionState)} == states


def test_these_are_in_order_always() -> None:
    # RFC 5321 §4.1.4
    for verb in (b"EHLO", b"HELO", b"NOOP", b"RSET", b"QUIT", b"VRFY", b"EXPN", b"HELP"):
        assert all(isinstance(cell, SessionState) for cell in COMMANDS[verb].values())


def test_ehlo_and_rset_forget_the_transaction() -> None:
    # RFC 5321 §4.1.4, §4.1.1.5
    for state in (SessionState.SENDER, SessionState.RECIPIENTS, SessionState.CHUNKS):
        assert COMMANDS[b"EHLO"][state] is COMMANDS[b"RSET"][state] is SessionState.READY


def test_a_refusal_is_an_error_of_the_rule_that_refuses() -> None:
    error = NO_TLS.error()
    assert isinstance(error, Refused)
    assert (error.rule, error.presented, str(error.reply)[:9]) == (
        *("tls", "clear text", "530 5.7.0"),
    )
    cell = COMMANDS[b"MAIL"][SessionState.SECURED]
    assert isinstance(cell, OutOfOrder)
    assert isinstance(cell.error(), SyntaxRefused)
    assert cell.error().reply == cell.reply
