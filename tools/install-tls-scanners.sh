#!/bin/sh
# install-tls-scanners.sh DIR PYTHON: what `make scan-tls` looks at our port with, in DIR: testssl.sh,
# unpacked from Debian's package, and sslyze in a virtual environment of its own, as it needs an older
# cryptography than we do. Where one cannot be had, a note says so, and the tests that need it skip.
set -eu
tools=$(dirname "$0")
"$tools/unpack-debian.sh" "$1" testssl.sh
locked=$tools/../requirements-sslyze.txt
wanted=$(sed -n 's/^sslyze==\([^ ]*\).*/\1/p' "$locked")
sslyze=$1/sslyze
[ "$("$sslyze/bin/pip" show sslyze 2>/dev/null | sed -n 's/^Version: //p')" = "$wanted" ] && exit 0
rm -rf "$sslyze"
"$tools/make-venv.sh" "$2" "$sslyze"
# It comes as source: what builds it is locked too, and goes first.
sed -n '/^setuptools==/,/[^\\]$/p' "$locked" >"$sslyze/build.txt"
for file in "$sslyze/build.txt" "$locked"; do
  "$sslyze/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --no-build-isolation -r "$file" || {
    echo "note: sslyze cannot be installed; tests that need it will be skipped" >&2
    rm -rf "$sslyze"
    exit 0
  }
done
