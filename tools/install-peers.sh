#!/bin/sh
# install-peers.sh BIN: peers for the tests: swaks, Postfix and promtool, from Debian packages; a C compiler, for
# the libraries that simulate disk failures (tests/support/faults); OpenSSL headers, for the receiving peer of the
# bench (tests/bench/sink.c).
set -eu
. "$(dirname "$0")/lacking.sh"
bin=$(cd "$1" && pwd)
missing=""
command -v swaks >/dev/null && perl -e 'use Net::SSLeay' 2>/dev/null || missing="swaks libnet-ssleay-perl"
command -v postfix >/dev/null || [ -x /usr/sbin/postfix ] || missing="$missing postfix"
echo '#include <stdio.h>' | cc -fsyntax-only -x c - 2>/dev/null || missing="$missing gcc libc6-dev"
echo '#include <openssl/ssl.h>' | cc -fsyntax-only -x c - 2>/dev/null || missing="$missing libssl-dev"
missing=${missing# }
promtool=""
command -v promtool >/dev/null || [ -x "$bin/promtool" ] || promtool=promtool
[ -n "$missing$promtool" ] || finish

# A separate package since Debian 13.
apt-cache show promtool >/dev/null 2>&1 || promtool=${promtool:+prometheus}
can_install "$missing${promtool:+${missing:+ }$promtool}" || finish
apt-get update -qq || { lack "$missing $promtool" "apt has no package lists"; finish; }
apt-cache show promtool >/dev/null 2>&1 && promtool=${promtool:+promtool}
if [ -n "$missing" ]; then
  # "No configuration" leaves Postfix stopped: the tests run it from their own folder.
  echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    lack "$missing" "apt-get cannot install them"
fi
if [ -n "$promtool" ]; then
  # Only promtool is taken from the package: no Prometheus may start.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq "$promtool" >/dev/null && dpkg -x "$promtool"_*.deb files &&
    install -m 755 files/usr/bin/promtool "$bin/promtool") ||
    lack promtool "apt-get cannot download the package $promtool"
fi
finish
