#!/bin/sh
# install-mta.sh DIR: Exim and OpenSMTPD for the tests, unpacked from Debian's packages into DIR. A Debian
# system holds one mail server, and that is the Postfix of install-peers.sh; the tests give each of these
# two a machine of its own (tests/support/machine.py), with its users, configuration and spool.
# Debian 12's own OpenSMTPD (6.8) cannot use a private key with OpenSSL 3, hence a certificate neither.
set -eu
exec "$(dirname "$0")/unpack-debian.sh" "$1" exim4-daemon-light opensmtpd/backports
