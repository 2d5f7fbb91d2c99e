#!/usr/bin/env bash
# The scripts parse, explain themselves, and refuse bad options with a reason instead of starting something.
set -u
failures=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# refuses PATTERN COMMAND...: fails, quickly, with a message that matches.
refuses() {
  local pattern=$1 output
  shift
  if output="$(timeout 10 "$@" 2>&1 </dev/null)"; then fail "accepted: $*"; fi
  [[ $output =~ $pattern ]] || fail "$* said: $output"
}

export HOME="${HOME:-$TEST_TMPDIR}"
for script in deploy/*.sh; do
  bash -n "$script" || fail "$script does not parse"
done
for script in install demo test bench fuzz; do
  help="$(timeout 10 bash "deploy/$script.sh" --help </dev/null)" || fail "$script.sh --help exits with $?"
  [[ $help == usage:* ]] || fail "$script.sh --help prints no usage"
  refuses "unknown" bash "deploy/$script.sh" --no-such-option
done
refuses "unknown set 'no-such-set'" bash deploy/install.sh no-such-set
refuses "--nodes must be a whole number from 2 to 9" bash deploy/demo.sh --nodes 1
refuses "--nodes needs a value" bash deploy/demo.sh --nodes
refuses "--json: can't write" bash deploy/demo.sh --json /no/such/folder/file
refuses "--rounds must be" bash deploy/bench.sh proxy --rounds many
refuses "--nodes must be a whole number from 2 to 50" bash deploy/bench.sh membership --nodes 3,51
refuses "--nodes must be numbers" bash deploy/bench.sh membership --nodes "3 5"
refuses "--nodes is for membership only" bash deploy/bench.sh proxy --nodes 3
refuses "--cases is for proxy only" bash deploy/bench.sh store --cases 1k
refuses "--fsync is for fenced only" bash deploy/bench.sh store --fsync always
refuses "--fsync must be" bash deploy/bench.sh fenced --fsync sometimes
refuses "--cases must be names" bash deploy/bench.sh proxy --cases "1k; ls"
refuses "--runs-each must be" bash deploy/fuzz.sh --runs-each 0
refuses "--runs must be" bash deploy/fuzz.sh --runs 0
refuses "--seconds must be" bash deploy/fuzz.sh --seconds 1h
refuses "there is no tests/fuzz/no_such_fuzz.cc" bash deploy/fuzz.sh --targets no_such_fuzz
refuses "--json: can't write" bash deploy/fuzz.sh --json /no/such/folder/file
refuses "unknown benchmark" bash deploy/bench.sh no-such-benchmark
# A system without apt-get: an empty PATH but for what the script itself needs.
tools="$TEST_TMPDIR/tools"
mkdir -p "$tools"
for tool in bash dirname basename tr cat id getent cut; do ln -sf "$(command -v "$tool")" "$tools/$tool"; done
refuses "not a Debian-like system" env PATH="$tools" bash deploy/install.sh build

python3 tests/deploy/test_summary_test.py || fail "test_summary_test.py"
((failures == 0))
