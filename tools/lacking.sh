# lacking.sh: read by the install scripts. Nothing that only tests need may end a set-up: a note says what is
# lacking, the tests concerned skip, and the script ends with 3, so that the next set-up tries again.
lacking=""

# lack WHAT WHY: note that tests which need WHAT are skipped.
lack() {
  echo "note: tests that need $1 will be skipped: $2" >&2
  lacking=yes
}

# can_install PACKAGES: whether apt may be used; where not, note it with the command for root.
can_install() {
  if ! command -v apt-get >/dev/null; then
    lack "$1" "there is no apt-get"
  elif [ "$(id -u)" != 0 ]; then
    lack "$1" "installing needs root; run as root: ${2:-apt-get install $1}"
  else
    return 0
  fi
  return 1
}

# finish: end with 3 if something is lacking.
finish() {
  [ -z "$lacking" ] || exit 3
  exit 0
}
