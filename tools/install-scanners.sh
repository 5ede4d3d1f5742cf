#!/bin/sh
# install-scanners.sh DIR: clamd and rspamd for the tests, unpacked from Debian packages into DIR. The system gets
# no package and no service; no virus database is fetched.
set -eu
. "$(dirname "$0")/lacking.sh"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
missing=""
[ -x "$dir/usr/sbin/clamd" ] || command -v clamd >/dev/null || [ -x /usr/sbin/clamd ] || missing="clamav-daemon"
[ -x "$dir/usr/bin/rspamd" ] || command -v rspamd >/dev/null || missing="$missing rspamd"
missing=${missing# }
[ -n "$missing" ] || finish
can_install "$missing" "$0 $1" || finish
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
apt-get update -qq || { lack "$missing" "apt has no package lists"; finish; }
for package in $missing; do
  # apt downloads the package with the dependencies that the system lacks.
  mkdir -p "$work/$package/partial"
  if apt-get install -qq -y --no-install-recommends --download-only \
      -o Dir::Cache::archives="$work/$package" "$package" >/dev/null; then
    for file in "$work/$package"/*.deb; do dpkg -x "$file" "$dir"; done
  else
    lack "$package" "apt-get cannot download it"
  fi
done
finish
