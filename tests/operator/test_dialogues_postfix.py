"""The dialogues of our listener, held with a real Postfix too: every difference is justified.

docs/postfix-differences.md lists them.  A difference that is not listed fails here, and so does one
that is listed and no longer found.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.address import parse_address
from relay.admission import HeaderFromPolicy, Policy
from relay.limits import Limits
from tests.relay.test_dialogues import DIALOGUES, numbers
from tests.support.dialogue import Dialogue, parse
from tests.support.dialogue_record import record
from tests.support.operators import HOST, client_tls, inbound
from tests.support.postfix import missing
from tests.support.postfix_rules import ruled
