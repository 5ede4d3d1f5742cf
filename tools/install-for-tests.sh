#!/bin/sh
# install-for-tests.sh VENV: install the programs that tests need, beside Python packages. Exit code 3 if some
# cannot be installed: notes name them, their tests are skipped, and the next set-up tries again.
set -eu
tools=$(dirname "$0")
. "$tools/lacking.sh"
try() {
  status=0
  "$@" || status=$?
  [ "$status" = 0 ] || lacking=yes
  [ "$status" = 0 ] || [ "$status" = 3 ] || echo "note: $1 failed; tests that need what it brings will be skipped" >&2
}
try "$tools/install-peers.sh" "$1/bin"
try "$tools/install-scanners.sh" "$1/scanners"
try "$tools/install-mta.sh" "$1/peers"
try "$tools/install-pooler.sh" "$1/peers"
try "$tools/install-tls-scanners.sh" "$1/tls-scanners" "$1/bin/python"
finish
