"""Refused log-ins, by their reason."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailstore.credentials.proof import LoginRefused, Refusal


@contextmanager
def refused(reason: Refusal) -> Iterator[pytest.ExceptionInfo[LoginRefused]]:
    """Expect that the block's log-in is refused for this reason."""
    with pytest.raises(LoginRefused) as caught:
        yield caught
    assert caught.value.reason is reason
