#!/usr/bin/env bash
# Builds Roost and runs its tests. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/test.sh [--filter PATTERN] [--config NAME] [TARGET...]

Installs what is missing, builds everything and runs every test (or the Bazel TARGETs given). The last line is
"N passed, N failed", counted in test cases; the exit code is 0 if something passed and nothing failed.

  --filter PATTERN   only GoogleTest cases that match, e.g. 'RouterTest.*'
  --config NAME      asan or tsan, for example (see .bazelrc)
TEXT
}

FILTER=() CONFIG=() TARGETS=()
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --filter) need_value "$1" $#; FILTER=("--test_filter=$2"); shift ;;
    --config) need_value "$1" $#; CONFIG=("--config=$2"); shift ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) TARGETS+=("$1") ;;
  esac
  shift
done
((${#TARGETS[@]})) || TARGETS=(//...)

"$ROOST_ROOT/deploy/install.sh" build test demo
DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-test.XXXXXX")"
trap 'rm -rf "$DIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
ROOST_LINKS="$DIR/links"

code=0
roost_bazel test --keep_going --build_event_json_file="$DIR/events.json" --show_progress_rate_limit=5 --test_summary=terse \
  "${CONFIG[@]}" "${FILTER[@]}" -- "${TARGETS[@]}" </dev/null || code=$?
((code != 8)) || exit 130 # Interrupted.
python3 "$ROOST_ROOT/deploy/test_summary.py" "$DIR/events.json" "$code"
