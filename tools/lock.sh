#!/bin/sh
# lock.sh PIP_COMPILE: write the locks, with hashes: requirements.txt (to run), requirements-dev.txt (to develop),
# requirements-sslyze.txt.
set -eu
compile() {
  CUSTOM_COMPILE_COMMAND="make lock" "$pip_compile" --quiet --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@"
}
# pip-compile does not write the extras' markers; the locks must hold for each Python.
until_3_14() {
  for package in atheris backports-zstd; do
    sed -i "s/^\($package==[^ ;]*\) /\1 ; python_version < '3.14' /" "$1"
  done
}
pip_compile=$1
compile --extra build --output-file requirements.txt pyproject.toml
compile --extra build --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
until_3_14 requirements-dev.txt
# sslyze runs in its own environment: its libraries are older than ours.
printf 'sslyze\nsetuptools\n' | compile --output-file requirements-sslyze.txt -
