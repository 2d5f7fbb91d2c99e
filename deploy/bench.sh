#!/usr/bin/env bash
# Measures Roost against what else one could use, on this machine. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/bench.sh proxy [--json FILE] [--rounds N] [--seconds S] [--cases CASE,...]
       deploy/bench.sh store [--json FILE] [--rounds N] [--seconds S]
       deploy/bench.sh fenced [--json FILE] [--rounds N] [--seconds S] [--fsync F]
       deploy/bench.sh join [--json FILE] [--seconds S]
       deploy/bench.sh membership [--json FILE] [--rounds N] [--seconds S] [--nodes N,...]

proxy        what a proxied HTTP request costs: without a proxy, HAProxy, nginx, Roost when it owns the session, Roost when it
             forwards to the owner. One core for the subject, one for load and application; 32 keep-alive connections, 1 kB replies;
             then larger bodies both ways, TLS, two cores, a million sessions, idle connections, a killed node. Prints which of
             the project's targets are met. Cases and figures: tests/bench/proxy.md. About 45 minutes; with --cases 1k, two.
store        the session store: Get and Put beside an empty gRPC echo of the same sizes, Put acknowledged by a copy beside Redis
             SET + WAIT 1 with a replica, both pipelined with 32 and 512 in flight; replication lag; then a million sessions on one
             node: memory, reads, restart. Real processes, 1 KiB values, data in /dev/shm where there is room. About 7 minutes.
fenced       what the mode fenced costs: Get and Put beside the mode available in the same three nodes, with as many copies and the
             same fsync; lease messages between two nodes at rest, with 0, 1,000 and 100,000 sessions; the time from a killed owner
             (SIGKILL) to its successor serving. Prints which of the project's targets are met. About 6 minutes.
join         a node joins one that holds 7,000 sessions of 150 KiB: how long until it has its copies of all of them, and what that
             costs the sender in memory and in latency of its reads. About 2 minutes.
membership   Roost's gossip beside hashicorp/memberlist with its LAN defaults, a process per node: until every survivor knows of a
             killed (SIGKILL) and of a silent (SIGSTOP) process, bytes per node, false deaths while every node starves at the lowest
             priority on one core with busy loops. About 15 minutes. Runs in a network namespace of its own where that is allowed.
             Builds a small Go program; its modules come from the Go module proxy.

  --json FILE    write the figures to FILE
  --fsync F      fenced: always (default), interval or never
  --rounds N     interleaved rounds, 1 to 100 (default 5; proxy 7)
  --seconds S    proxy: of load per subject and round (default 3). store, fenced: likewise (default 3). join: of reads beside
                 it (default 10). membership: of steady state and of starvation per subject and
                 size (default 30). 1 to 600
  --cases LIST   proxy: 1k, forward, one-connection, 100k, 100k-up, 1m, 1m-up, tls, tls-handshake, two-cores, million-sessions,
                 idle-1k, idle-10k, failover (default: all)
  --nodes N,...  membership: sizes of the cluster, each 2 to 50 (default 3,20)
TEXT
}

(($#)) || { usage >&2; exit 2; }
case $1 in
  -h | --help) usage; exit 0 ;;
  proxy | store | fenced | join | membership) SUBJECT=$1; shift ;;
  *) die "unknown benchmark $1 (see --help)" ;;
esac
JSON=() ROUNDS=5 LENGTH="" NODES=3,20 CASES=() FSYNC=always
[[ $SUBJECT != proxy ]] || ROUNDS=7
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --json) need_value "$1" $#; JSON=(--json "$(absolute "$2")"); writable_file --json "$2"; shift ;;
    --rounds) need_value "$1" $#; need_number "$1" "$2" 1 100; ROUNDS=$2; shift ;;
    --seconds) need_value "$1" $#; need_number "$1" "$2" 1 600; LENGTH=$2; shift ;;
    --cases)
      need_value "$1" $#
      [[ $SUBJECT == proxy ]] || die "--cases is for proxy only (see --help)"
      [[ $2 =~ ^[a-z0-9,-]+$ ]] || die "--cases must be names with commas between, not '$2'"
      CASES=(--cases "$2")
      shift
      ;;
    --fsync)
      need_value "$1" $#
      [[ $SUBJECT == fenced ]] || die "--fsync is for fenced only (see --help)"
      [[ $2 =~ ^(always|interval|never)$ ]] || die "--fsync must be always, interval or never, not '$2'"
      FSYNC=$2
      shift
      ;;
    --nodes)
      need_value "$1" $#
      [[ $SUBJECT == membership ]] || die "--nodes is for membership only (see --help)"
      for n in ${2//,/ }; do need_number "$1" "$n" 2 50; done
      [[ $2 =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--nodes must be numbers with commas between, not '$2'"
      NODES=$2
      shift
      ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done
(($(nproc) >= 2)) ||
  die "this benchmark needs two cores, this machine offers $(nproc)"

declare -A PACKAGES=([proxy]=bench [store]=bench-store [fenced]=bench-store [join]=bench-store [membership]=bench-membership)
"$ROOST_ROOT/deploy/install.sh" build "${PACKAGES[$SUBJECT]}"
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

# build_program TARGET: as $DIR/NAME.
build_program() {
  local path="${1#//}"
  say "Building (the first time takes some minutes) ..."
  roost_bazel build --config=opt --noshow_progress --ui_event_filters=-info,-stdout "$1" ||
    die "the build failed; its messages are above"
  cp "$ROOST_LINKS/bin/${path/://}" "$DIR/${path#*:}"
}

prepare_proxy() {
  local target
  for target in //sidecar:roostd //tests/bench:store_load; do build_program "$target"; done
  COMMAND=(python3 "$ROOST_ROOT/tests/bench/proxy_bench.py" --roostd "$DIR/roostd" --load "$DIR/store_load" --rounds "$ROUNDS"
    --seconds "${LENGTH:-3}" "${CASES[@]}")
}

# prepare_store_bench SECONDS: for store and join.
prepare_store_bench() {
  local target
  for target in //sidecar:roostd //tests/bench:store_load //tests/bench:echo_server; do build_program "$target"; done
  COMMAND=(python3 "$ROOST_ROOT/tests/bench/store_bench.py" "$SUBJECT" --roostd "$DIR/roostd" --load "$DIR/store_load"
    --echo "$DIR/echo_server" --rounds "$ROUNDS" --seconds "$1")
}
prepare_store() { prepare_store_bench "${LENGTH:-3}"; }
prepare_join() { prepare_store_bench "${LENGTH:-10}"; }

prepare_fenced() {
  local target
  for target in //sidecar:roostd //tests/bench:store_load; do build_program "$target"; done
  COMMAND=(python3 "$ROOST_ROOT/tests/bench/fenced_bench.py" --roostd "$DIR/roostd" --load "$DIR/store_load" --rounds "$ROUNDS"
    --seconds "${LENGTH:-3}" --fsync "$FSYNC")
}

build_memberlist() {
  (cd "$ROOST_ROOT/tests/bench/memberlist" &&
    env GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 go build -buildvcs=false -o "$DIR/memberlist_node" .) </dev/null ||
    die "can't build tests/bench/memberlist; go's messages are above (its modules come from the Go module proxy)"
}

prepare_membership() {
  local version private=()
  build_program //tests/bench:gossip_node
  build_memberlist
  version="$(awk '$1 == "github.com/hashicorp/memberlist" {print "hashicorp/memberlist " $2}' \
    "$ROOST_ROOT/tests/bench/memberlist/go.mod"), $(go env GOVERSION)"
  # Its loopback interface counts the subject's bytes and nobody else's.
  if unshare --net true 2>/dev/null; then
    private=(unshare --net)
  elif unshare --map-root-user --net true 2>/dev/null; then
    private=(unshare --map-root-user --net)
  else
    warn "no right to make a network namespace: bytes are those of the whole machine's loopback interface"
  fi
  COMMAND=("${private[@]}" python3 "$ROOST_ROOT/tests/bench/membership_bench.py" --roost "$DIR/gossip_node"
    --memberlist "$DIR/memberlist_node" --memberlist-version "$version" --nodes "$NODES" --rounds "$ROUNDS" --seconds "${LENGTH:-30}")
}

# Python's compiled modules would lie in the checkout.
export PYTHONDONTWRITEBYTECODE=1
"prepare_$SUBJECT"
"${COMMAND[@]}" "${JSON[@]}" </dev/null &
BENCH=$!
code=0
wait "$BENCH" || code=$?
BENCH=""
exit "$code"
