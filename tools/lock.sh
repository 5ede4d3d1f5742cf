#!/bin/sh
# lock.sh PIP_COMPILE: write requirements.txt (to run) and requirements-dev.txt (to develop) with hashes.
set -eu
compile() {
  CUSTOM_COMPILE_COMMAND="make lock" "$pip_compile" --quiet --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@" pyproject.toml
}
pip_compile=$1
compile --extra build --output-file requirements.txt
compile --extra build --extra dev --constraint requirements.txt --output-file requirements-dev.txt
