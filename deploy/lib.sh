# Shared by the scripts in this folder: messages, prerequisites, the build. Sourced, never run.
# shellcheck shell=bash

ROOST_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
# Bazel and its cache need a home; cron jobs and some CI runners set none.
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
readonly ROOST_ROOT

say() { printf '%s\n' "$*"; }

warn() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
  warn "$*"
  exit 1
}

# need_value OPTION COUNT_OF_ARGUMENTS_LEFT
need_value() { [[ $2 -ge 2 ]] || die "$1 needs a value (see --help)"; }

# need_number OPTION VALUE MIN MAX
need_number() {
  [[ $2 =~ ^[0-9]{1,6}$ ]] && (($2 >= $3 && $2 <= $4)) ||
    die "$1 must be a whole number from $3 to $4, not '$2'"
}

# Absolute form of a path given on the command line.
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }

# writable_file OPTION PATH: fails now rather than after the run.
writable_file() {
  [[ -d $2 ]] && die "$1: $2 is a directory"
  : 2>/dev/null >>"$2" || die "$1: can't write $2"
}

# Compilations at once: one per core, but about 1.5 GB of memory for each.
roost_jobs() {
  local cores memory_kb by_memory
  cores="$(nproc)"
  memory_kb="$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)"
  by_memory=$((memory_kb / 1500000))
  ((by_memory >= 1)) || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# roost_bazel COMMAND ARGUMENTS...: runs Bazel in the checkout. A server that is running already is used and left alone; otherwise
# none is left behind (--batch). Convenience links go to ROOST_LINKS/, so that another build can't move them under our feet.
roost_bazel() {
  local command="$1" startup=() base pid
  shift
  base="$HOME/.cache/bazel/_bazel_$(id -un)/$(printf '%s' "$ROOST_ROOT" | md5sum | cut -d' ' -f1)"
  pid="$(cat "$base/server/server.pid.txt" 2>/dev/null || true)"
  [[ -n $pid && -d /proc/$pid ]] || startup=(--batch)
  (cd "$ROOST_ROOT" && bazel "${startup[@]}" "$command" --jobs="$(roost_jobs)" \
    --symlink_prefix="$ROOST_LINKS/" "$@")
}

# wait_http URL SECONDS: until the URL answers 200.
wait_http() {
  local deadline=$((SECONDS + $2))
  until curl -fsS -o /dev/null --max-time 1 "$1" 2>/dev/null; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}
