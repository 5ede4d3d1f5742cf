"""Preloaded C libraries between the daemon and the C library, compiled on demand."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.rules import needs


@cache
def missing() -> str:
    """Reason why they cannot be compiled here; empty if they can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD and what is preloaded are Linux's"
    return missing_header("stdio.h")


@cache
def missing_header(header: str) -> str:
    """Reason why code with a header cannot be compiled here; empty if it can."""
    if shutil.which("cc") is None:
        return needs.program("a C compiler", "gcc libc6-dev")
    probe = subprocess.run(
        ["cc", "-fsyntax-only", "-x", "c", "-"],
        input=f"#include <{header}>\n".encode(),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    package = "libssl-dev" if header.startswith("openssl/") else "libc6-dev"
    return "" if probe.returncode == 0 else needs.program(header, package)


@cache
def library(name: str) -> Path:
    """Library compiled from `name`.c beside this file, for LD_PRELOAD."""
    folder = Path(tempfile.mkdtemp(prefix="mssante-faults-"))
    folder.chmod(0o755)  # for servers that run as another user
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(made), str(source), "-ldl"], check=True)
    return made
