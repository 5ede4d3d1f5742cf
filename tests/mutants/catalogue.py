"""All mutants."""

from tests.mutants import (
    acceptance,
    admission,
    delivery,
    endings,
    framing,
    people,
    queue_admin,
    sessions,
    strangers,
    trust,
)

MUTANTS = (
    *admission.MUTANTS,
    *trust.MUTANTS,
    *framing.MUTANTS,
    *acceptance.MUTANTS,
    *delivery.MUTANTS,
    *queue_admin.MUTANTS,
    *people.MUTANTS,
    *endings.MUTANTS,
    *sessions.MUTANTS,
    *strangers.MUTANTS,
)
