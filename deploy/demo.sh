#!/usr/bin/env bash
# Roost at work on this machine: a cluster, a shop, visitors, and what happens when a node dies. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/demo.sh [options]

Installs what is missing, builds, and starts on loopback: roostd nodes, a sample shop beside each, and HAProxy in TCP mode in
front, which sends every connection to a random node. Visitors fill their carts and check every answer while one node and its shop
are killed (SIGKILL) and started again, and another is drained. Then a table says what became of their requests and carts, and the
cluster stays up to play with until Ctrl-C, which stops everything.

  --once          exit after the table: 0, or 3 if a cart was wrong or lost
  --json FILE     write the figures to FILE
  --nodes N       2 to 9 (default 3)
  --visitors N    1 to 5000 (default 300)
  --seconds N     how long they visit, 12 to 3600 (default 40)
TEXT
}

ONCE=no JSON="" NODES=3 VISITORS=300 SECONDS_TO_PLAY=40
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --once) ONCE=yes ;;
    --json) need_value "$1" $#; JSON="$(absolute "$2")"; shift ;;
    --nodes) need_value "$1" $#; need_number "$1" "$2" 2 9; NODES=$2; shift ;;
    --visitors) need_value "$1" $#; need_number "$1" "$2" 1 5000; VISITORS=$2; shift ;;
    --seconds) need_value "$1" $#; need_number "$1" "$2" 12 3600; SECONDS_TO_PLAY=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done
[[ -z $JSON ]] || writable_file --json "$JSON"

DIR=""
declare -A PID=()  # What runs now, by name.

# TERM first, all at once; KILL to what is left after 5 s. Only processes that this script started.
stop_all() {
  local name deadline=$((SECONDS + 5))
  trap '' INT TERM HUP
  for name in "${!PID[@]}"; do kill -TERM "${PID[$name]}" 2>/dev/null || true; done
  for name in "${!PID[@]}"; do
    while kill -0 "${PID[$name]}" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
    kill -KILL "${PID[$name]}" 2>/dev/null || true
    wait "${PID[$name]}" 2>/dev/null || true
  done
  PID=()
}
finish() {
  local code=$?
  stop_all
  if [[ -n $DIR ]]; then
    if ((code == 0 || code == 130 || code == 143)); then rm -rf "$DIR"; else warn "logs and data are kept in $DIR"; fi
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# start NAME COMMAND...: in the background, output to NAME.log.
start() {
  local name=$1
  shift
  "$@" >>"$DIR/$name.log" 2>&1 </dev/null &
  PID[$name]=$!
}

start_node() { start "roostd-$1" "$DIR/roostd" --config "$DIR/node-$1.yaml"; }
start_shop() {
  start "shop-$1" "$DIR/shop" --listen "127.0.0.1:${APP[$1]}" --api "127.0.0.1:${API[$1]}" --name "node-$1"
}

wait_node() {
  wait_http "http://127.0.0.1:${ADMIN[$1]}/readyz" 20 && wait_http "http://127.0.0.1:${APP[$1]}/healthz" 10 && return 0
  tail -n 5 "$DIR/roostd-$1.log" "$DIR/shop-$1.log" >&2 || true
  die "node-$1 did not become ready in time; its last words are above"
}

write_node_config() {
  local i=$1 seeds="" j
  for ((j = 1; j <= NODES; j++)); do seeds+="${seeds:+, }\"127.0.0.1:${PEER[j]}\""; done
  cat >"$DIR/node-$i.yaml" <<YAML
node:    {name: node-$i, data_dir: $DIR/data-$i}
cluster: {name: demo, seeds: [$seeds], listen: "127.0.0.1:${PEER[i]}", forward_listen: "127.0.0.1:${FORWARD[i]}"}
proxy:   {listen: "127.0.0.1:${HTTP[i]}", app: "127.0.0.1:${APP[i]}", cookie: JSESSIONID}
api:     {listen: "127.0.0.1:${API[i]}"}
admin:   {listen: "127.0.0.1:${ADMIN[i]}"}
YAML
}

write_balancer_config() {
  local i
  cat <<CFG
global
    maxconn $((VISITORS + 200))
    log stdout format raw local0
defaults
    mode tcp
    maxconn $((VISITORS + 200))
    timeout connect 500ms
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch 1
frontend visitors
    bind 127.0.0.1:$BALANCER
    log global
    option logasap
    log-format "%cp %s"
    default_backend nodes
backend nodes
    balance random(1)
    option httpchk GET /readyz
    # HAProxy draws a point of a ring; more points a server make equal shares.
    default-server weight 100 check inter 200ms fastinter 100ms downinter 200ms fall 1 rise 1
CFG
  for ((i = 1; i <= NODES; i++)); do
    echo "    server node-$i 127.0.0.1:${HTTP[i]} port ${ADMIN[i]}"
  done
}

build() {
  "$ROOST_ROOT/deploy/install.sh" build demo
  DIR="$(mktemp -d "${TMPDIR:-/tmp}/roost-demo.XXXXXX")"
  chmod 700 "$DIR"
  ROOST_LINKS="$DIR/links"
  say "Building (the first time takes some minutes) ..."
  roost_bazel build --config=opt --noshow_progress --ui_event_filters=-info,-stdout \
    //sidecar:roostd //sidecar:roostctl //deploy/demo:shop //deploy/demo:visitors ||
    die "the build failed; its messages are above"
  # Copies, so that a build while the demo runs changes nothing here.
  cp "$ROOST_LINKS"/bin/sidecar/{roostd,roostctl} "$ROOST_LINKS"/bin/deploy/demo/{shop,visitors} "$DIR/"
}

start_cluster() {
  local i ports
  # shellcheck disable=SC2207
  ports=($(python3 "$ROOST_ROOT/deploy/demo/free_ports.py" $((NODES * 6 + 1))))
  ((${#ports[@]})) || die "no free ports on loopback"
  BALANCER=${ports[0]}
  HTTP=() PEER=() FORWARD=() API=() ADMIN=() APP=()
  for ((i = 1; i <= NODES; i++)); do
    HTTP[i]=${ports[i * 6 - 5]} PEER[i]=${ports[i * 6 - 4]} FORWARD[i]=${ports[i * 6 - 3]}
    API[i]=${ports[i * 6 - 2]} ADMIN[i]=${ports[i * 6 - 1]} APP[i]=${ports[i * 6]}
  done
  for ((i = 1; i <= NODES; i++)); do
    write_node_config "$i"
    start_node "$i"
    start_shop "$i"
  done
  for ((i = 1; i <= NODES; i++)); do wait_node "$i"; done
  write_balancer_config >"$DIR/haproxy.cfg"
  # Its log goes to a file of its own: the visitors' figures are taken from it.
  "$(command -v haproxy || echo /usr/sbin/haproxy)" -db -f "$DIR/haproxy.cfg" >"$DIR/landings" 2>"$DIR/haproxy.log" </dev/null &
  PID[haproxy]=$!
  wait_http "http://127.0.0.1:$BALANCER/healthz" 10 || die "HAProxy does not serve: $(tail -n 3 "$DIR/haproxy.log")"
  say "$NODES nodes, each with a shop, behind HAProxy (TCP, random) on 127.0.0.1:$BALANCER"
}

start_visitors() {
  local admins="" i json=()
  for ((i = 1; i <= NODES; i++)); do admins+="${admins:+,}127.0.0.1:${ADMIN[i]}"; done
  [[ -z $JSON ]] || json=(--json "$JSON")
  : >"$DIR/events"
  "$DIR/visitors" --server "127.0.0.1:$BALANCER" --visitors "$VISITORS" --seconds "$SECONDS_TO_PLAY" --admin "$admins" \
    --landings "$DIR/landings" --events "$DIR/events" "${json[@]}" </dev/null &
  PID[visitors]=$!
  VISIT_START=$SECONDS
}

# Sleeps until so many percent of the visit are over.
wait_percent() {
  local until=$((VISIT_START + SECONDS_TO_PLAY * $1 / 100))
  while ((SECONDS < until)); do
    kill -0 "${PID[visitors]}" 2>/dev/null || return 0
    sleep 0.1
  done
}

kill_and_restart_node() {
  local i=$1
  wait_percent 25
  say "      >>>  kill -9: node-$i and its shop"
  echo "kill node-$i $(date +%s%N)" >>"$DIR/events"
  kill -KILL "${PID[roostd-$i]}" "${PID[shop-$i]}"
  wait "${PID[roostd-$i]}" "${PID[shop-$i]}" 2>/dev/null || true
  sleep 2
  say "      >>>  node-$i starts again"
  start_shop "$i"
  start_node "$i"
  wait_node "$i"
}

drain_and_restart_node() {
  local i=$1 code=0
  wait_percent 60
  say "      >>>  SIGTERM: node-$i hands its sessions over and leaves"
  kill -TERM "${PID[roostd-$i]}"
  wait "${PID[roostd-$i]}" || code=$?
  ((code == 0)) || warn "node-$i exited with $code after SIGTERM, not 0; see its log"
  say "      >>>  node-$i has drained, and starts again"
  start_node "$i"
  wait_node "$i"
}

stay_up() {
  local id
  id="$(curl -fsS -D - -o /dev/null "http://127.0.0.1:$BALANCER/" | sed -n 's/^[Ss]et-[Cc]ookie: JSESSIONID=\([0-9a-f]*\).*/\1/p')"
  cat <<TEXT

The cluster stays up until Ctrl-C.

  the shop, through the balancer   http://127.0.0.1:$BALANCER/
  metrics of node-1                http://127.0.0.1:${ADMIN[1]}/metrics

Try, in another terminal:

  $DIR/roostctl --api 127.0.0.1:${API[1]} members
  $DIR/roostctl --api 127.0.0.1:${API[1]} owner $id
  for i in 1 2 3 4 5; do curl -s -b JSESSIONID=$id -X POST "http://127.0.0.1:$BALANCER/cart/add?item=apple-\$i"; done

Data, logs and configurations are in $DIR and go with it. To see a takeover: kill -9 ${PID[roostd-1]}
TEXT
  # In pieces: a signal ends a short sleep soon, and Ctrl-C is the way out.
  while :; do sleep 0.5; done
}

# Connections take descriptors, and the usual soft limit is 1,024.
ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || true
build
start_cluster
say "$VISITORS visitors for $SECONDS_TO_PLAY s; every answer is checked against the visitor's own journal"
start_visitors
kill_and_restart_node 2
drain_and_restart_node $((NODES > 2 ? 3 : 1))
result=0
wait "${PID[visitors]}" || result=$?
unset 'PID[visitors]'
((result == 0 || result == 3)) || die "the visitors failed ($result)"
if [[ $ONCE == yes ]]; then
  ((result == 0)) || warn "a cart was wrong or lost"
  exit "$result"
fi
stay_up
