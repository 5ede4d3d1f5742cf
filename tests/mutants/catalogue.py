"""All mutants."""

from tests.mutants import acceptance, admission, delivery, framing, queue_admin, trust

MUTANTS = (
    *admission.MUTANTS,
    *trust.MUTANTS,
    *framing.MUTANTS,
    *acceptance.MUTANTS,
    *delivery.MUTANTS,
    *queue_admin.MUTANTS,
)
