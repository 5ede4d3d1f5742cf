#!/bin/sh
# find-python.sh: names the interpreter for the virtual environment, the distribution's own before any other.
set -u
for test in 'import ensurepip, sys, venv' 'import sys'; do # make-venv.sh can bring what the first asks for
  for python in /usr/bin/python3.11 python3.11 /usr/bin/python3 python3; do
    "$python" -c "$test; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && command -v "$python" && exit
  done
done
command -v python3 # make-venv.sh says what is wrong with it
