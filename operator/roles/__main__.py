"""`python -m mssante_operator.roles launcher`: imports, then launches (docs/decisions/0018).

Objects made by an import stay.  Passes of the garbage collector over them take a sixth of the
start, so the collector is off until `fork_server.serve` has collected once.
"""

import gc


def main() -> None:
    """Import and launch without the collector."""
    gc.disable()
    from .main import main as launch  # noqa: PLC0415 - start-up time: the collector is off by now

    launch()


if __name__ == "__main__":
    main()
