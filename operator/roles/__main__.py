"""`python -m mssante_operator.roles launcher`: imports, then launches (docs/decisions/0018).

What an import makes stays.  The garbage collector would look through it again and again, which
takes a sixth of the time, so it is off until `fork_server.serve` has collected once.
"""

import gc


def main() -> None:
    """Import and launch without the collector."""
    gc.disable()
    from .main import main as launch  # noqa: PLC0415 - for start-up time: the collector is off by now

    launch()


if __name__ == "__main__":
    main()
