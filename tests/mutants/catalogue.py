"""All mutants."""

from tests.mutants import (
    acceptance,
    admission,
    delivery,
    framing,
    queue_admin,
    sessions,
    strangers,
    trust,
)
from tests.mutants.people import accounts, administrators, desk, endings

MUTANTS = (
    *administrators.MUTANTS,
    *admission.MUTANTS,
    *trust.MUTANTS,
    *framing.MUTANTS,
    *acceptance.MUTANTS,
    *delivery.MUTANTS,
    *queue_admin.MUTANTS,
    *desk.MUTANTS,
    *accounts.MUTANTS,
    *endings.MUTANTS,
    *sessions.MUTANTS,
    *strangers.MUTANTS,
)
