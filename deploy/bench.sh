#!/usr/bin/env bash
# Measures Roost against what else one could use, on this machine. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/bench.sh proxy [--json FILE] [--rounds N] [--seconds S]

proxy   what a proxied HTTP request costs: without a proxy, HAProxy, nginx, Roost when it owns the session, Roost when it forwards
        to the owner. One core for the subject, one for load and application; 32 keep-alive connections, 1 kB replies.

  --json FILE    write the figures to FILE
  --rounds N     interleaved rounds, 1 to 100 (default 5); the table shows medians
  --seconds S    of load per subject and round, 1 to 600 (default 3)
TEXT
}

(($#)) || { usage >&2; exit 2; }
case $1 in
  -h | --help) usage; exit 0 ;;
  proxy) shift ;;
  *) die "unknown benchmark $1 (see --help)" ;;
esac
JSON=() ROUNDS=5 LENGTH=3
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --json) need_value "$1" $#; JSON=(--json "$(absolute "$2")"); writable_file --json "$2"; shift ;;
    --rounds) need_value "$1" $#; need_number "$1" "$2" 1 100; ROUNDS=$2; shift ;;
    --seconds) need_value "$1" $#; need_number "$1" "$2" 1 600; LENGTH=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done
(($(nproc) >= 2)) ||
  die "this benchmark needs two cores, this machine offers $(nproc)"

"$ROOST_ROOT/deploy/install.sh" build bench
DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-bench.XXXXXX")"
BENCH=""
finish() {
  if [[ -n $BENCH ]]; then
    kill -TERM "$BENCH" 2>/dev/null || true
    wait "$BENCH" 2>/dev/null || true
  fi
  rm -rf "$DIR"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
ROOST_LINKS="$DIR/links"
say "Building (the first time takes some minutes) ..."
roost_bazel build --config=opt --noshow_progress --ui_event_filters=-info,-stdout //sidecar:roostd ||
  die "the build failed; its messages are above"
cp "$ROOST_LINKS/bin/sidecar/roostd" "$DIR/roostd"
python3 "$ROOST_ROOT/tests/bench/proxy_bench.py" --roostd "$DIR/roostd" --rounds "$ROUNDS" --seconds "$LENGTH" "${JSON[@]}" \
  </dev/null &
BENCH=$!
code=0
wait "$BENCH" || code=$?
BENCH=""
exit "$code"
