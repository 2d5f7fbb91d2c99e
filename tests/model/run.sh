#!/usr/bin/env bash
# Checks the models of this folder with spin. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
usage: tests/model/run.sh [--large] [--only PATTERN] [--trails] [--json FILE]

Searches every state of each model, and of each mutation until it is rejected. A line per run: outcome, states, depth, errors,
seconds of one core, MB. A model passes if the search was complete, found no error and reached everything that it must reach; a mutation passes
if it was rejected. The last line is "N passed, N failed"; the exit code is 0 if nothing failed.
Needs spin and gcc (deploy/install.sh test); without spin it says so, ends with "0 passed, 0 failed, 1 skipped" and exits 0.

  --large         the larger bounds (an hour or more, up to 6 GB each) instead of those of the tests
  --only PATTERN  only runs whose name matches the shell pattern, e.g. 'set*'
  --trails        print how each mutation goes wrong, step by step
  --json FILE     write the figures to FILE as well
TEXT
}

die() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 2
}

LARGE=no ONLY='*' TRAILS=no JSON=""
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --large) LARGE=yes ;;
    --trails) TRAILS=yes ;;
    --only | --json)
      (($# >= 2)) && [[ -n $2 ]] || die "$1 needs a value (see --help)"
      if [[ $1 == --only ]]; then ONLY=$2; else JSON=$2; fi
      shift
      ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

# RUNS: name, model, "holds" or "rejected", -D words.
# Each mutation runs with the smallest part of the model that it belongs to.
models() {
  if [[ $LARGE == yes ]]; then
    cat <<'TEXT'
takeover                     fenced holds    -DNUMS=4 -DCRASHES=3
takeover-all-messages        fenced holds    -DKEEP_DEAD_MESSAGES
five-copies                  fenced holds    -DFIVE -DNUMS=2 -DCRASHES=1
witness                      fenced holds    -DWITNESS -DNUMS=4 -DCRASHES=3
resign                       fenced holds    -DRESIGN
create                       fenced holds    -DCREATE -DNUMS=3 -DCRASHES=2
tombstone                    fenced holds    -DTOMB -DNUMS=3 -DCRASHES=3
set                          fenced holds    -DSET -DNUMS=3 -DCRASHES=2
TEXT
    return
  fi
  cat <<'TEXT'
lease                        lease  holds
lease-from-answer            lease  rejected -DBUG_FROM_ANSWER
lease-no-drift-margin        lease  rejected -DNO_MARGIN
lease-no-boot-wait           lease  rejected -DNO_BOOT_WAIT
lease-clock-stops            lease  rejected -DBUG_CLOCK_STOPS
takeover                     fenced holds
promise-not-persisted        fenced rejected -DNO_PERSISTED_PROMISE
promise-before-lapse         fenced rejected -DNO_LAPSE_WAIT
promise-after-boot-at-once   fenced rejected -DNO_BOOT_WAIT
promise-to-lower-epoch       fenced rejected -DBUG_LOWER_PROMISED
promise-by-owner             fenced rejected -DBUG_OWNER_PROMISES
term-not-raised              fenced rejected -DNO_NEW_TERM
validation-skipped           fenced rejected -DNO_VALIDATION
validation-does-not-bind     fenced rejected -DNO_BINDING_VALIDATION
served-after-lease           fenced rejected -DNO_LEASE_CHECK
ack-one-short                fenced rejected -DBUG_ACK_ONE_SHORT -DANY_DISKS
ack-before-disk              fenced rejected -DBUG_UNSYNCED -DANY_DISKS
read-of-unacknowledged       fenced rejected -DBUG_READ_UNACKNOWLEDGED -DANY_DISKS
replicate-of-lower-epoch     fenced rejected -DNO_FENCE -DANY_DISKS
takeover-keeps-own-record    fenced rejected -DBUG_OWN_RECORD
witness                      fenced holds    -DWITNESS
witness-not-believed         fenced rejected -DWITNESS -DNO_HEADS
resign                       fenced holds    -DRESIGN -DCRASHES=1
resign-not-persisted         fenced rejected -DRESIGN -DNO_PERSISTED_RESIGN
create                       fenced holds    -DCREATE -DNUMS=2
tombstone                    fenced holds    -DTOMB
tombstone-dropped-early      fenced rejected -DTOMB -DBUG_TOMBSTONE_DROPPED -DANY_DISKS
tombstone-no-clock-bound     fenced rejected -DTOMB -DNO_CLOCK_BOUND -DNUMS=2 -DCRASHES=0
set                          fenced holds    -DSET -DNUMS=2 -DCRASHES=2
set-two-takeovers            fenced holds    -DSET -DNUMS=3 -DCRASHES=0
set-not-joint                fenced rejected -DSET -DNUMS=2 -DCRASHES=0 -DNO_JOINT -DANY_DISKS
set-promises-of-one          fenced rejected -DSET -DNUMS=2 -DCRASHES=0 -DBUG_CHANGING_NOT_PROMISED
set-leases-of-one            fenced rejected -DSET -DCRASHES=0 -DBUG_CHANGING_NOT_LEASED
set-acks-of-one              fenced rejected -DSET -DCRASHES=0 -DBUG_CHANGING_NOT_ACKNOWLEDGED -DANY_DISKS
set-undone-early             fenced rejected -DSET -DCRASHES=0 -DBUG_UNDONE_EARLY
set-dropped-copy-forgets     fenced rejected -DSET -DNUMS=2 -DCRASHES=0 -DNO_STUB
available                    available holds
available-answers-the-dead   available rejected -DBUG_ANSWERS_THE_DEAD
available-asks-nobody        available rejected -DBUG_ASKS_NOBODY
available-not-validated      available rejected -DNO_VALIDATION
TEXT
}

command -v gcc >/dev/null || die "gcc is missing: deploy/install.sh test"
if ! command -v spin >/dev/null; then
  echo "skipped: spin is not installed (deploy/install.sh test)"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
[[ -z $JSON ]] || : 2>/dev/null >"$JSON" || die "--json: can't write $JSON"

HERE=$PWD
DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-model.XXXXXX")"
CHILD=""
# shellcheck disable=SC2317
clean() {
  if [[ -n $CHILD ]]; then
    kill -- "-$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
  fi
  rm -rf "$DIR"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# figure PATTERN FILE: the first number of the line that matches, or nothing.
figure() { sed -nE "s/^.*$1.*\$/\\1/p" "$2" | head -1; }

PASSED=0 FAILED=0 RECORDS=()
# check NAME MODEL EXPECTED WORD...
check() {
  local name=$1 model=$2 expected=$3 why="" outcome code=0
  shift 3
  local work=$DIR/$name missing="" goal
  mkdir "$work"
  cd "$work"
  cp "$HERE/$model.pml" .
  # Collapsed states are exact, and half as large; a mutation is rejected before that pays.
  local options=(-DSAFETY -DNOREDUCE -DNOFAIR -DMEMLIM=6000 -w)
  if [[ $expected == holds ]]; then options+=(-O1 -DCOLLAPSE); else options+=(-O0); fi
  if ! spin -a "$@" "$model.pml" >build.txt 2>&1 || ! gcc "${options[@]}" -o pan pan.c >>build.txt 2>&1; then
    cat build.txt >&2
    die "$name: the model does not build"
  fi
  # In a process group of its own, so that a signal to us ends it too.
  set -m
  (TIMEFORMAT=%U; time ./pan -E -n -m2000000 -w22 >out.txt 2>&1) 2>cpu.txt &
  CHILD=$!
  set +m
  wait "$CHILD" || code=$?
  CHILD=""

  local states depth errors seconds memory violated
  states="$(figure ' ([0-9]+) states, stored' out.txt)"
  depth="$(figure 'depth reached ([0-9]+)' out.txt)"
  errors="$(figure 'errors: ([0-9]+)' out.txt)"
  seconds="$(tail -1 cpu.txt)"
  memory="$(figure ' ([0-9.]+).total actual memory usage' out.txt)"
  violated="$(figure 'violated: (.*)' out.txt)"
  if [[ -z $errors ]]; then
    outcome=broken why="the search ended with code $code: $(tail -1 out.txt)"
  elif ((errors > 0)); then
    outcome=rejected
  elif grep -qE 'not completed|max search depth|out of memory' out.txt; then
    outcome=incomplete
  else
    outcome=holds
    # What the model says must happen somewhere. spin has copied it into pan's sources.
    while read -r goal; do
      grep -qxF "reached: $goal" out.txt || missing+="${missing:+; }$goal"
    done < <(grep -ohE 'happened\("[^"]+"\)' pan.? | sed -E 's/^happened\("(.*)"\)$/\1/' | sort -u)
    [[ -z $missing ]] || why="never reached: $missing"
    [[ -n $why ]] || grep -q '^reached: ' out.txt || why="nothing was reached"
  fi
  [[ $outcome == "$expected" || -n $why ]] || why="expected: $expected"
  # An error without a name is a fault of the model, not a rejection.
  [[ $outcome != rejected || -n $violated ]] || why="failed without a violated property: $(grep -m1 '^pan:' out.txt)"
  local verdict=ok
  if [[ -n $why ]]; then verdict=FAILED; fi
  [[ $seconds =~ ^[0-9.]+$ ]] || seconds=""
  printf '%-6s %-27s %-9s %10s states, depth %4s, %s errors, %7ss, %8s MB%s%s\n' "$verdict" "$name" "$outcome" "${states:-?}" \
    "${depth:-?}" "${errors:-?}" "${seconds:-?}" "${memory:-?}" "${violated:+: $violated}" "${why:+ ($why)}"
  if [[ $verdict == ok ]]; then PASSED=$((PASSED + 1)); else FAILED=$((FAILED + 1)); fi
  if [[ $TRAILS == yes && $outcome == rejected ]]; then
    ./pan -E -r "$model.pml.trail" 2>&1 | grep -E '^ *[0-9]+:.*\||^violated' || true
  fi
  RECORDS+=("$(printf '{"name": "%s", "model": "%s", "words": "%s", "expected": "%s", "outcome": "%s", "violated": "%s", "states": %s, "depth": %s, "errors": %s, "cpu_seconds": %s, "memory_mb": %s, "passed": %s, "why": "%s"}' \
    "$name" "$model" "$*" "$expected" "$outcome" "$violated" "${states:-null}" "${depth:-null}" "${errors:-null}" "${seconds:-null}" \
    "${memory:-null}" "$([[ $verdict == ok ]] && echo true || echo false)" "${why//[\"\\]/}")")
  cd "$HERE"
  rm -rf "$work"
}

while read -r name model expected words; do
  # shellcheck disable=SC2053,SC2086
  if [[ $name == $ONLY ]]; then check "$name" "$model" "$expected" $words; fi
done < <(models)

if [[ -n $JSON ]]; then
  {
    printf '{"large": %s, "passed": %s, "failed": %s, "runs": [\n' "$([[ $LARGE == yes ]] && echo true || echo false)" "$PASSED" "$FAILED"
    (IFS=$'\n'; printf '%s\n' "${RECORDS[*]}" | sed '$!s/$/,/')
    printf ']}\n'
  } >"$JSON"
fi
((PASSED + FAILED > 0)) || die "--only: no run is called '$ONLY'"
echo "$PASSED passed, $FAILED failed"
((FAILED == 0))
