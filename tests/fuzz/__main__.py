"""`python -m tests.fuzz TARGET [SECONDS]`: fuzz a target; a finding ends the run and is kept."""

import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ModuleNotFoundError:
    sys.exit("fuzzing needs atheris, which is locked for Python 3.11 to 3.13: make PYTHON=... fuzz")

with atheris.instrument_imports(include=["whitelist", "relay", "mailstore.summaries"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run libFuzzer on a target for a number of seconds (default 60)."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    if name not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [SECONDS]")
    target, seeds = TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix=f"mssante-fuzz-{name}-"))
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    found = Path("run") / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={4 * max(map(len, seeds))}",
        f"-artifact_prefix={found}/{name}-",
        "-timeout=20",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
