#!/usr/bin/env bash
# Fuzzes the decoders until a number of executions or a time is reached. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/fuzz.sh [--runs N | --runs-each N | --seconds S] [--targets NAME,...] [--fast] [--work DIR] [--json FILE]

Builds the fuzz targets with clang (AddressSanitizer, UndefinedBehaviorSanitizer, libFuzzer; packages of deploy/install.sh dev) and
runs them in turn, one process at a time, from the seeds in tests/fuzz/corpus. Prints executions per target and their sum. The exit
code is 0 if nothing was found, 1 if something was: its input then lies in DIR/findings.

  --runs N         end when N executions are reached in all, 1 to 10000000000 (default 100000000: half an hour to an hour)
  --runs-each N    end when every target has reached N executions instead
  --seconds S      end after S seconds instead, 1 to 604800
  --targets LIST   names as in tests/fuzz (default: the membership's decoders, gossip_wire_fuzz, gossip_seal_fuzz,
                   keys_file_fuzz, seeds_file_fuzz, srv_answer_fuzz, broadcast_wire_fuzz); "affinity": ids, routes, cookies and SOAP; "all": every target
  --fast           optimised and without a trace of comparisons: two to eight times as many executions a second, but fewer new paths
                   each; for a long campaign over a corpus that has grown without it (--work)
  --work DIR       keeps what the fuzzer learns, and what it finds, for a later run (default: a temporary folder, kept only if
                   something was found)
  --json FILE      write executions, findings and the figures of each target to FILE
TEXT
}

whole_number() {
  [[ $2 =~ ^[1-9][0-9]{0,10}$ ]] && (($2 <= $3)) || die "$1 must be a whole number from 1 to $3, not '$2'"
}

MEMBERSHIP=gossip_wire_fuzz,gossip_seal_fuzz,keys_file_fuzz,seeds_file_fuzz,srv_answer_fuzz,broadcast_wire_fuzz
AFFINITY=affinity_derived_fuzz,affinity_id_route_fuzz,affinity_places_fuzz,affinity_ranked_fuzz,affinity_route_cookie_fuzz
AFFINITY+=,affinity_seal_fuzz,body_id_fuzz,cookie_fuzz,soap_scan_fuzz
LENGTH=() TARGETS=$MEMBERSHIP WORK="" JSON=() CONFIG=fuzz
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --runs | --runs-each) need_value "$1" $#; whole_number "$1" "$2" 10000000000; LENGTH=("$1" "$2"); shift ;;
    --seconds) need_value "$1" $#; whole_number "$1" "$2" 604800; LENGTH=(--seconds "$2"); shift ;;
    --targets)
      need_value "$1" $#
      TARGETS=$2
      [[ $2 == affinity ]] && TARGETS=$AFFINITY
      [[ $2 == all ]] && TARGETS="$(cd "$ROOST_ROOT/tests/fuzz" && printf '%s,' *_fuzz.cc | sed 's/\.cc,/,/g; s/,$//')"
      for target in ${TARGETS//,/ }; do
        [[ -f $ROOST_ROOT/tests/fuzz/$target.cc ]] || die "--targets: there is no tests/fuzz/$target.cc"
      done
      shift
      ;;
    --fast) CONFIG=fuzz-fast ;;
    --work) need_value "$1" $#; WORK="$(absolute "$2")"; shift ;;
    --json) need_value "$1" $#; JSON=(--json "$(absolute "$2")"); writable_file --json "$2"; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done
((${#LENGTH[@]})) || LENGTH=(--runs 100000000)

"$ROOST_ROOT/deploy/install.sh" build dev demo
DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-fuzz.XXXXXX")"
FUZZ=""
finish() {
  if [[ -n $FUZZ ]]; then
    kill -TERM "$FUZZ" 2>/dev/null || true
    wait "$FUZZ" 2>/dev/null || true
  fi
  if [[ -n "$(ls -A "$DIR/work/findings" 2>/dev/null)" ]]; then
    rm -rf "$DIR/bin" "$DIR/links"
    say "Findings are kept in $DIR/work/findings"
  else
    rm -rf "$DIR"
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
ROOST_LINKS="$DIR/links"
mkdir -p "$DIR/bin" "$DIR/work"

say "Building (the first time takes some minutes) ..."
LABELS=()
for target in ${TARGETS//,/ }; do LABELS+=("//tests/fuzz:$target"); done
roost_bazel build --config="$CONFIG" --noshow_progress --ui_event_filters=-info,-stdout,-warning "${LABELS[@]}" ||
  die "the build failed; its messages are above"
for target in ${TARGETS//,/ }; do cp "$ROOST_LINKS/bin/tests/fuzz/$target" "$DIR/bin/"; done

python3 "$ROOST_ROOT/tests/fuzz/campaign.py" --binaries "$DIR/bin" --corpus "$ROOST_ROOT/tests/fuzz/corpus" \
  --work "${WORK:-$DIR/work}" --targets "$TARGETS" "${LENGTH[@]}" "${JSON[@]}" </dev/null &
FUZZ=$!
code=0
wait "$FUZZ" || code=$?
FUZZ=""
exit "$code"
