# lacking.sh: functions of the install scripts. A program that only tests need must not stop a set-up: a note names
# it, its tests are skipped, and the script ends with 3, so that the next set-up tries again.
lacking=""

# lack WHAT WHY: note that tests which need WHAT are skipped.
lack() {
  echo "note: tests that need $1 will be skipped: $2" >&2
  lacking=yes
}

# can_install PACKAGES [COMMAND]: true if apt may be used; otherwise note it, with root's command.
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

# finish: exit with 3 if something is lacking, else with 0.
finish() {
  [ -z "$lacking" ] || exit 3
  exit 0
}
