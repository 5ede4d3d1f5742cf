#!/bin/sh
# install-check.sh [CODENAME...]: run the README's two commands on fresh Debian systems (default: bookworm and
# trixie). For each, debootstrap makes a root with only python3, make, git and ca-certificates. In copies of it, as
# an ordinary user and as root: `make run` until it listens, the sending of a message as it tells, `/readyz`, and
# `make test`. Exit code 1 if a result differs from the README.
#   ARGS       options of `make test`, to run a part: ARGS="tests/unit/relay -n 1"
#   STEPS      default: "run test"
#   MIRROR     Debian mirror, as for debootstrap
#   WORK       folder of the roots: 3 GB each (/var/tmp/mssante-install-check); fresh roots are reused
set -eu
[ "$(id -u)" = 0 ] || { echo "install-check.sh: it needs root: roots are made and entered; as root: make install-check" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "install-check.sh: it needs debootstrap; as root: apt-get install debootstrap" >&2; exit 1; }
project=$(cd "$(dirname "$0")/.." && pwd)
work=${WORK:-/var/tmp/mssante-install-check}
steps=${STEPS:-run test}
user=4242
failed=""
mkdir -p "$work"

say() { printf '== %s\n' "$*"; }
fail() { printf '== FAILED %s\n' "$*"; failed="$failed
  $*"; }

# pristine CODENAME: make a fresh root.
pristine() {
  [ -f "$work/$1.made" ] && return
  rm -rf "$work/$1"
  # shellcheck disable=SC2086 # no word where MIRROR is not set
  debootstrap --variant=minbase --include=python3,make,git,ca-certificates "$1" "$work/$1" ${MIRROR:-} >"$work/$1.log" 2>&1
  # This machine's access to registries: certificates, settings of pip and apt.
  for path in /etc/pip.conf /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$path" ] || cp -L "$path" "$work/$1$path"
  done
  # The mirror's other suites, as on an installed system.
  mirror=$(awk '$1 == "deb" { print $2; exit }' "$work/$1/etc/apt/sources.list")
  echo "deb $mirror $1-updates main" >>"$work/$1/etc/apt/sources.list"
  chroot "$work/$1" useradd --uid "$user" --create-home tester
  touch "$work/$1.made"
}

# inside ROOT USER COMMAND: run by sh in the user's folder, in namespaces whose end kills all processes.
inside() {
  owner=$2 home=/root
  [ "$2" = 0 ] || home=/home/tester
  # shellcheck disable=SC2016 # for the shell within
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 HOME="$home" ARGS="${ARGS:-}" \
    $(env | sed -n 's/^\(PIP_[A-Z_]*=[^ ]*\|[a-z]*_proxy=[^ ]*\)$/\1/p') \
    unshare --mount --pid --fork --kill-child sh -c '
      root=$1 owner=$2 command=$3
      mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/dev/shm" && mount -t devpts devpts "$root/dev/pts" || exit
      [ -e "$root/dev/fd" ] || ln -s /proc/self/fd "$root/dev/fd"
      exec chroot --userspec="$owner:$owner" "$root" sh -c "cd ~/mssante 2>/dev/null || cd ~; $command"' \
    inside "$1" "$owner" "$3"
}

# try_run ROOT USER: `make run`, its command to send a message, and `/readyz`.
try_run() {
  # shellcheck disable=SC2016 # for the shell within
  inside "$1" "$2" '
    make run >/tmp/run.out 2>/tmp/run.err & made=$!
    until grep -q "^mssante listens on " /tmp/run.out; do
      kill -0 $made 2>/dev/null || { tail -n 5 /tmp/run.err; exit 1; }
      sleep 1
    done
    as_peer=$(sed -n "/^ *send as a peer:/,/[^\\\\]\$/p" /tmp/run.out | sed "s/^ *send as a peer: *//; s/\\\\\$//" | tr "\n" " ")
    echo "$as_peer"
    PATH="$PWD/.venv/bin:$PATH" sh -c "$as_peer" >/tmp/send.out 2>&1 || { tail -n 5 /tmp/send.out; exit 1; }
    .venv/bin/mssante --config run/mssante.toml message list claire.martin@a.mssante.fr || exit
    ready=$(sed -n "s/.*\(http:[^ ]*readyz\).*/\1/p" /tmp/run.out)
    .venv/bin/python -c "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())" "$ready" || exit
    kill $made; wait $made || true'
}

# check CODENAME USER: run both commands of the README.
check() {
  who=root
  [ "$2" = 0 ] || who="an ordinary user"
  root=$work/$1-$2
  say "$1 as $who"
  rm -rf "$root"
  cp -a --reflink=auto "$work/$1" "$root"
  home=$root/root
  [ "$2" = 0 ] || home=$root/home/tester
  git clone -q "$project" "$home/mssante"
  chown -R "$2:$2" "$home/mssante"
  if [ "$2" != 0 ]; then
    # A package that only root can install must be named in a line.
    said=$(inside "$root" "$2" "make run" 2>&1 || true)
    package=$(printf '%s\n' "$said" | sed -n 's/.*run as root: apt-get install \(python3[^ ]*-venv\)$/\1/p')
    if [ -n "$package" ]; then
      say "root is asked for $package"
      inside "$root" 0 "apt-get update -qq && apt-get install -y -qq --no-install-recommends $package >/dev/null" ||
        fail "$1 as $who: $package cannot be installed"
    else
      fail "$1 as $who: make run does not say which package it needs: $said"
    fi
  fi
  case $steps in *run*) try_run "$root" "$2" || fail "$1 as $who: make run" ;; esac
  # shellcheck disable=SC2016 # for the shell within
  case $steps in *test*) inside "$root" "$2" 'make test ARGS="$ARGS"' || fail "$1 as $who: make test" ;; esac
  [ -n "$failed" ] || rm -rf "$root"  # kept for inspection after a failure
}

for codename in ${*:-bookworm trixie}; do
  pristine "$codename" || { fail "$codename: debootstrap ($work/$codename.log)"; continue; }
  check "$codename" "$user"
  check "$codename" 0
done
[ -z "$failed" ] || { say "not as the README says:$failed"; exit 1; }
say "all is as the README says"
