"""Entry points of the processes: worker, delivery, maintenance."""
