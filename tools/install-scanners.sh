#!/bin/sh
# install-scanners.sh DIR: clamd and rspamd for the tests, unpacked from Debian's packages into DIR.
# Nothing is installed in the system, no service is made or started, no virus database is fetched.
# Where they cannot be had, a note says so, and the tests that need them skip.
set -eu
mkdir -p "$1"
dir=$(cd "$1" && pwd)
missing=""
[ -x "$dir/usr/sbin/clamd" ] || command -v clamd >/dev/null || [ -x /usr/sbin/clamd ] || missing="clamav-daemon"
[ -x "$dir/usr/bin/rspamd" ] || command -v rspamd >/dev/null || missing="$missing rspamd"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "note: not root, or no apt: tests that need ${missing# } will be skipped" >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
apt-get update -qq || { echo "note: apt has no package lists; tests with real scanners will be skipped" >&2; exit 0; }
for package in $missing; do
  # With what it depends on and the system lacks: apt knows, and only downloads.
  mkdir -p "$work/$package/partial"
  if apt-get install -qq -y --no-install-recommends --download-only \
      -o Dir::Cache::archives="$work/$package" "$package" >/dev/null; then
    for file in "$work/$package"/*.deb; do dpkg -x "$file" "$dir"; done
  else
    echo "note: $package cannot be downloaded; tests that need it will be skipped" >&2
  fi
done
