"""Entry points of the processes: worker, courier, maintenance."""
