#!/bin/sh
# install-mta.sh DIR: Exim and OpenSMTPD for the tests, unpacked from Debian packages into DIR. A Debian system
# holds a single mail server, here the Postfix of install-peers.sh. The tests run the other two in a machine of
# their own (tests/support/machines/machine.py), with users, configuration and spool. OpenSMTPD of Debian 12 (6.8) cannot use
# private keys, and so certificates, with OpenSSL 3.
set -eu
exec "$(dirname "$0")/unpack-debian.sh" "$1" exim4-daemon-light opensmtpd/backports
