#!/bin/sh
# make-venv.sh PYTHON DIR: make a virtual environment; install Debian's venv package if missing.
set -eu
python=$1 folder=$2
"$(dirname "$0")/check-python.sh" "$python"
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
  else
    echo "Python's venv module is missing; run as root: apt-get install $package" >&2
    exit 1
  fi
}
exec "$python" -m venv "$folder"
