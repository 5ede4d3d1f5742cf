#!/bin/sh
# install-tls-scanners.sh DIR PYTHON: TLS scanners for tests/interop/test_tls_scanners.py, in DIR: testssl.sh,
# unpacked from Debian's package, and sslyze in its own virtual environment, because it needs an older cryptography
# than we do.
set -eu
tools=$(dirname "$0")
. "$tools/lacking.sh"
"$tools/unpack-debian.sh" "$1" testssl.sh || lacking=yes
locked=$tools/../requirements-sslyze.txt
wanted=$(sed -n 's/^sslyze==\([^ ]*\).*/\1/p' "$locked")
sslyze=$1/sslyze
[ "$("$sslyze/bin/pip" show sslyze 2>/dev/null | sed -n 's/^Version: //p')" = "$wanted" ] && finish
rm -rf "$sslyze"
"$tools/make-venv.sh" "$2" "$sslyze"
# sslyze comes as source: its build packages are locked too, and installed first.
sed -n '/^setuptools==/,/[^\\]$/p' "$locked" >"$sslyze/build.txt"
for file in "$sslyze/build.txt" "$locked"; do
  "$sslyze/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --no-build-isolation -r "$file" || {
    lack sslyze "pip cannot install it"
    rm -rf "$sslyze"
    finish
  }
done
finish
