#!/bin/sh
# check-python.sh PYTHON: refuse in one line a Python outside pyproject.toml's requires-python.
set -eu
bounds=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"$/\1 \2/p' "$(dirname "$0")/../pyproject.toml")
first=${bounds% *} beyond=${bounds#* }
"$1" -c "import sys; sys.exit(not (3, $first) <= sys.version_info[:2] < (3, $beyond))" 2>/dev/null || {
  version=$("$1" --version 2>&1) || version="not a Python that runs"
  echo "Python 3.$first to 3.$((beyond - 1)) is needed, and $1 is $version: give another, make PYTHON=/usr/bin/python3.$first ..." >&2
  exit 1
}
