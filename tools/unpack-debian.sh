#!/bin/sh
# unpack-debian.sh DIR PACKAGE...: Debian's packages, each with what it needs and the system lacks, in
# DIR/PACKAGE: for tests that run a program which cannot be installed here, as it conflicts with another
# (one mail server for a system) or would start a service. The system's own packages are not touched.
# PACKAGE/backports is the newer one of that suite, from the mirror that the system has its packages of.
set -eu
. "$(dirname "$0")/lacking.sh"
command="$0 $*"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
missing=""
for wanted in "$@"; do [ -d "$dir/${wanted%/*}" ] || missing="$missing $wanted"; done
missing=${missing# }
[ -n "$missing" ] || finish
can_install "$missing" "$command" || finish
work=$(mktemp -d)
trap 'rm -rf "$work" "$dir"/*.unpacking' EXIT
chmod 755 "$work"

# Sources of our own are read in folders of their own; the system's lists stay as they are.
sources="-o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=/dev/null"
sources="$sources -o Dir::State::lists=$work/lists"
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" 2>/dev/null | head -n 1)
for suite in "$codename" "$codename-backports"; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/sources.list"

for wanted in $missing; do
  package=${wanted%/*}
  options=""
  [ "$package" = "$wanted" ] || options="$sources -t $codename-backports"
  # apt may reckon with the removal of what conflicts; it only downloads.
  mkdir -p "$work/lists/partial" "$work/$package/partial" "$dir/$package.unpacking"
  # shellcheck disable=SC2086 # lists of words
  if apt-get $options update -qq && apt-get $options install -qq -y --no-install-recommends \
      --download-only -o Dir::Cache::archives="$work/$package" "$package" >/dev/null; then
    for file in "$work/$package"/*.deb; do dpkg -x "$file" "$dir/$package.unpacking"; done
    # Nothing here is to have more rights than whoever starts it.
    find "$dir/$package.unpacking" -type f -perm /6000 -exec chmod ug-s {} +
    mv "$dir/$package.unpacking" "$dir/$package"
  else
    lack "$package" "apt-get cannot download it"
  fi
done
finish
