"""Claim of one delivery, as a base for others."""

from relay.queue.model import Claim, Traffic
from tests.support.clock import NOW

PERSON, BULK = Traffic.PERSON, Traffic.BULK
CLAIM = Claim(
    id=1,
    owner="n:1",
    message_id="0" * 32,
    domain="b",
    waiting=(),
    smtputf8=False,
    attempts=1,
    created_at=NOW,
    sender="",
    traffic=PERSON,
    mailbox_type=None,
    envid=None,
    ret=None,
    delay_told=False,
    last_error="",
    blob="",
    size=0,
    trace="",
)
