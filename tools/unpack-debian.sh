#!/bin/sh
# unpack-debian.sh DIR PACKAGE...: unpack Debian packages into DIR/PACKAGE, each with the dependencies that the
# system lacks. For tests of programs that cannot be installed: they conflict with another package (a single mail
# server for a system) or would start a service. The system's own packages stay untouched. PACKAGE/backports is the
# newer package of that suite, from the system's mirror.
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

# Our package sources have their own lists; the system's lists stay unchanged.
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
  # apt may plan to remove conflicting packages, but only downloads.
  mkdir -p "$work/lists/partial" "$work/$package/partial" "$dir/$package.unpacking"
  # shellcheck disable=SC2086 # lists of words
  if apt-get $options update -qq && apt-get $options install -qq -y --no-install-recommends \
      --download-only -o Dir::Cache::archives="$work/$package" "$package" >/dev/null; then
    for file in "$work/$package"/*.deb; do dpkg -x "$file" "$dir/$package.unpacking"; done
    # No program may have more rights than its caller.
    find "$dir/$package.unpacking" -type f -perm /6000 -exec chmod ug-s {} +
    mv "$dir/$package.unpacking" "$dir/$package"
  else
    lack "$package" "apt-get cannot download it"
  fi
done
finish
