#!/bin/sh
# install-peers.sh BIN: what the tests use as peers: swaks, Postfix and promtool from Debian's packages;
# and a C compiler, for the libraries by which the disk fails in them (tests/support/faults), with OpenSSL's
# headers, for the peer that takes mail in the bench (tests/bench_sink.c).
# Without apt or without root nothing is installed, and the tests that need them skip and say so.
set -eu
bin=$(cd "$1" && pwd)
missing=""
command -v swaks >/dev/null && perl -e 'use Net::SSLeay' 2>/dev/null || missing="swaks libnet-ssleay-perl"
command -v postfix >/dev/null || [ -x /usr/sbin/postfix ] || missing="$missing postfix"
echo '#include <stdio.h>' | cc -fsyntax-only -x c - 2>/dev/null || missing="$missing gcc libc6-dev"
echo '#include <openssl/ssl.h>' | cc -fsyntax-only -x c - 2>/dev/null || missing="$missing libssl-dev"
promtool=""
command -v promtool >/dev/null || [ -x "$bin/promtool" ] || promtool=yes
[ -n "$missing$promtool" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "note: not root, or no apt: tests that need$missing ${promtool:+promtool} will be skipped" >&2
  exit 0
fi
apt-get update -qq || { echo "note: apt has no package lists; tests with real peers will be skipped" >&2; exit 0; }
if [ -n "$missing" ]; then
  # "No configuration" leaves Postfix stopped: the tests run it from a folder of their own.
  echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ -n "$promtool" ]; then
  # Only the tool is wanted from the package, not a Prometheus that runs.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq prometheus >/dev/null && dpkg -x prometheus_*.deb files)
  install -m 755 "$work/files/usr/bin/promtool" "$bin/promtool"
fi
