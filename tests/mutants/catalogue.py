"""All mutants."""

from tests.mutants import (
    acceptance,
    administrators,
    admission,
    delivery,
    desk,
    endings,
    framing,
    people,
    queue_admin,
    sessions,
    strangers,
    trust,
)

MUTANTS = (
    *administrators.MUTANTS,
    *admission.MUTANTS,
    *trust.MUTANTS,
    *framing.MUTANTS,
    *acceptance.MUTANTS,
    *delivery.MUTANTS,
    *queue_admin.MUTANTS,
    *desk.MUTANTS,
    *people.MUTANTS,
    *endings.MUTANTS,
    *sessions.MUTANTS,
    *strangers.MUTANTS,
)
