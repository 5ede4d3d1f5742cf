#!/bin/sh
# install-pooler.sh DIR: PgBouncer for the tests, unpacked from Debian's package into DIR: an installed package
# would start a service. The tests run it in front of their own PostgreSQL.
set -eu
exec "$(dirname "$0")/unpack-debian.sh" "$1" pgbouncer
