#!/bin/sh
# find-python.sh: print the interpreter for the virtual environment, which check-python.sh accepts. Pythons with
# ensurepip and venv come first, and among equals the distribution's own.
set -u
names="python3 python3.11 python3.12 python3.13 python3.14"
paths=""
for name in $names; do paths="$paths /usr/bin/$name"; done
for modules in ensurepip,venv sys; do  # make-venv.sh can install ensurepip and venv
  for python in $paths $names; do
    "$python" -c "import $modules" 2>/dev/null && "$(dirname "$0")/check-python.sh" "$python" 2>/dev/null &&
      command -v "$python" && exit
  done
done
echo python3  # make-venv.sh reports its problem
