#!/bin/sh
# test-other-python.sh VENV [PYTEST OPTION...]: run the tests that depend on Python (sockets, event loops,
# finalizers, processes) on another supported Python than VENV's, in VENV/other. A note says so if there is none.
set -eu
tools=$(dirname "$0") venv=$1
shift
used=$("$venv/bin/python" -c 'import sys; print("3.%d" % sys.version_info[1])')
find_other() {
  for minor in 13 14 12 11; do
    [ "3.$minor" = "$used" ] && continue
    for python in "/usr/bin/python3.$minor" "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
      "$python" -c 'import ensurepip, venv' 2>/dev/null && "$tools/check-python.sh" "$python" 2>/dev/null &&
        echo "$python" && return
    done
  done
}
other=$(find_other)
[ -n "$other" ] || { echo "note: no Python beside $used is here: nothing is tested on a second one"; exit 0; }
version=$("$other" --version)
bin=$venv/other/bin
"$bin/python" -c "import sys; sys.exit(f'Python {sys.version.split()[0]}' != '$version')" 2>/dev/null ||
  { rm -rf "$venv/other" && "$tools/make-venv.sh" "$other" "$venv/other"; }
cmp -s requirements-dev.txt "$venv/other/requirements" || {
  # Build backend first: it builds the source packages, and nothing else is fetched.
  "$bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
  "$bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --require-hashes -r requirements-dev.txt
  "$bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  cp requirements-dev.txt "$venv/other/requirements"
}
echo "On $version:"
exec "$bin/python" -m pytest "$@" \
  tests/mailstore/test_drafts.py tests/mailstore/test_object*.py tests/mailstore/test_stores.py \
  tests/operator/test_demo.py tests/operator/test_interop_postfix.py tests/operator/test_interop_swaks.py \
  tests/operator/test_launcher.py tests/operator/test_outbound_serve.py tests/operator/test_self_check.py \
  tests/operator/test_serve.py tests/operator/test_settings.py tests/operator/test_wheel.py \
  tests/relay/test_clamav.py tests/relay/test_connection.py tests/relay/test_dialogues.py \
  tests/relay/test_handover*.py tests/relay/test_listener.py tests/relay/test_own_port.py \
  tests/relay/test_peers*.py tests/relay/test_rspamd.py tests/relay/test_secured.py tests/relay/test_session*.py \
  tests/relay/test_streams*.py tests/whitelist/test_fetching*.py tests/whitelist/test_ocsp.py
