#!/bin/sh
# install-for-tests.sh VENV: all that tests need beside Python's packages. Ends with 3 while something cannot
# be installed: a note says what, the tests concerned are skipped, and the next set-up tries again.
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
