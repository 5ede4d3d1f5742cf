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
  tests/integration/daemon/test_outbound_serve.py tests/integration/daemon/test_serve.py \
  tests/integration/install/test_demo.py tests/integration/install/test_wheel.py \
  tests/integration/jobs/test_self_check.py tests/integration/processes/test_fork_client.py \
  tests/integration/relay/client/test_handover_properties.py tests/integration/relay/client/test_pool.py \
  tests/integration/relay/client/test_pool_room.py tests/integration/relay/client/test_transaction.py \
  tests/integration/relay/client/test_transaction_faults.py tests/integration/relay/server/test_connection.py \
  tests/integration/relay/server/test_dialogues.py tests/integration/relay/server/test_listener.py \
  tests/integration/relay/server/test_session.py tests/integration/relay/server/test_session_memory.py \
  tests/integration/relay/server/test_tls_buffer.py tests/interop/relay/test_clamav.py \
  tests/interop/relay/test_peers_exim.py tests/interop/relay/test_peers_postfix.py \
  tests/interop/relay/test_rspamd.py tests/interop/test_postfix.py tests/interop/test_swaks.py \
  tests/unit/mailstore/blobs/test_interface.py tests/unit/mailstore/s3/test_store.py \
  tests/unit/mailstore/sealed/test_draft.py tests/unit/operator/settings/test_model.py \
  tests/unit/relay/connection/test_own_port.py tests/unit/relay/connection/test_streams.py \
  tests/unit/relay/connection/test_streams_pieces.py tests/unit/relay/connection/test_streams_pipelined.py \
  tests/unit/relay/server/test_session_guards.py tests/unit/relay/server/test_session_order.py \
  tests/unit/relay/server/test_states.py tests/unit/whitelist/fetch/test_http.py \
  tests/unit/whitelist/fetch/test_http_delays.py tests/unit/whitelist/pki/test_ocsp.py
