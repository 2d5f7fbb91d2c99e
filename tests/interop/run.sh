#!/usr/bin/env bash
# Runs real applications, servers and balancers with Roost between them. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)/deploy/lib.sh"

usage() {
  cat <<'TEXT'
usage: tests/interop/run.sh [--list] [--binary ROOSTD] [NAME...]

Runs each case (or those named): real software on three nodes behind a balancer that knows nothing of sessions, with Roost between, and
as a control without. Prints a line per case, "PASS | FAIL | SKIP name: figure (control: figure)", and last
"N passed, N failed, N skipped". The exit code is 0 if nothing failed and something passed.

What a case needs beyond deploy/install.sh's packages is installed: Debian packages if this is root, npm packages into
~/.cache/roost-interop (or $ROOST_INTEROP_HOME). What can't be had is said, and its case skipped.

  --list            only print the names of the cases
  --quick           only the cases that need nothing but what is installed, and are quick
  --binary ROOSTD   this roostd; else it is built
TEXT
}

BINARY="" ARGUMENTS=()
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --binary) need_value "$1" $#; BINARY="$(absolute "$2")"; shift ;;
    --list | --quick) ARGUMENTS+=("$1") ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) ARGUMENTS+=("$1") ;;
  esac
  shift
done

DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-interop.XXXXXX")"
trap 'rm -rf "$DIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [[ -z $BINARY && " ${ARGUMENTS[*]} " != *" --list "* ]]; then
  "$ROOST_ROOT/deploy/install.sh" build demo
  ROOST_LINKS="$DIR/links"
  roost_bazel build --config=opt //:roostd >"$DIR/build.log" 2>&1 || { tail -20 "$DIR/build.log" >&2; die "the build failed"; }
  BINARY="$DIR/links/bin/sidecar/roostd"
fi
export ROOST_INTEROP_HOME="${ROOST_INTEROP_HOME:-$HOME/.cache/roost-interop}"
python3 "$ROOST_ROOT/tests/interop/interop.py" --roostd "$BINARY" --work "$DIR" "${ARGUMENTS[@]}"
