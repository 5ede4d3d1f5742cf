"""Mail in the queue whose senders are at a domain, before that is removed."""

from sqlalchemy import Connection, func, select

from relay.queue.schema import deliveries
from relay.queue_admin.filter import like
from relay.smtp.outcome import State

from ..errors import OperatorError


class DomainInUse(OperatorError):
    """Mail from this domain is still in the queue."""


def check_nothing_queued(connection: Connection, domain: str) -> None:
    """Return if no mail from the domain waits or is held.  Raises DomainInUse."""
    d = deliveries.c
    waits = (d.state == State.WAITING, like(d.sender, f"*@{domain}"))
    count = connection.scalar(select(func.count()).select_from(deliveries).where(*waits))
    if count:
        raise DomainInUse(
            f"{count} deliveries from {domain} are in the queue: wait, or see "
            f"mssante queue list --sender '*@{domain}'"
        )
