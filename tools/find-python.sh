#!/bin/sh
# find-python.sh: names the interpreter for the virtual environment: of those that check-python.sh takes, the
# distribution's own before any other, and before all of them one that can make environments by itself.
set -u
names="python3 python3.11 python3.12 python3.13 python3.14"
paths=""
for name in $names; do paths="$paths /usr/bin/$name"; done
for modules in ensurepip,venv sys; do # make-venv.sh can bring the first
  for python in $paths $names; do
    "$python" -c "import $modules" 2>/dev/null && "$(dirname "$0")/check-python.sh" "$python" 2>/dev/null &&
      command -v "$python" && exit
  done
done
echo python3 # make-venv.sh says what is wrong with it
