#!/usr/bin/env bash
# Installs from Debian's packages what Roost needs and what is missing. See --help.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/install.sh [--dry-run] SET...

Installs the Debian packages of the given sets that are missing, as root or through sudo. Does nothing, quickly, if none is.
Services that come with a package (HAProxy, nginx, Redis) are neither started nor enabled.

  build   compile roostd, roostctl and the demo
  run     run a compiled roostd on another machine
  demo    deploy/demo.sh (adds HAProxy)
  bench   deploy/bench.sh proxy (adds HAProxy, nginx, wrk, OpenSSL)
  bench-membership
          deploy/bench.sh membership (adds Go)
  bench-store
          deploy/bench.sh store, join and fenced (adds Redis)
  test    deploy/test.sh (adds network tools, Node for its HTTP parser, HAProxy, PHP, spin, libfaketime)
  dev     clang for thread-safety analysis, fuzzing and formatting

  --dry-run   only print what is missing; exits 1 if anything is
TEXT
}

# "a|b": b will do if it is installed; otherwise a gets installed.
packages_of() {
  case $1 in
    build) echo bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib g++ \
      libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev \
      librocksdb-dev libboost1.81-dev libgtest-dev libgmock-dev libssl-dev libyaml-cpp-dev \
      libspdlog-dev libfmt-dev libjemalloc-dev ;;
    run) echo libgrpc++1.51 libprotobuf32 libabsl20220623 librocksdb7.8 libssl3 libyaml-cpp0.7 \
      libspdlog1.10 libfmt9 libjemalloc2 ;;
    demo) echo haproxy curl python3 ;;
    bench) echo haproxy "nginx-light|nginx" wrk openssl curl python3 util-linux ;;
    bench-store) echo redis-server python3 ;;
    bench-membership) echo golang-go python3 util-linux ;;
    test) echo python3 curl iproute2 nftables nodejs haproxy php-cli spin gcc libfaketime ;;
    dev) echo clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 gdb valgrind ;;
    *) die "unknown set '$1' (see --help)" ;;
  esac
}

# Words of "$@" that no installed package satisfies, first alternatives only.
missing_of() {
  local installed entry name found
  # dpkg-query fails if any of the names is unknown to it; what it prints is right all the same.
  installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' ${*//|/ } 2>/dev/null || true)"
  for entry in "$@"; do
    found=no
    for name in ${entry//|/ }; do
      [[ $installed == *" installed:$name "* ]] && found=yes
    done
    [[ $found == yes ]] || printf '%s ' "${entry%%|*}"
  done
}

check_system() {
  local id="" like="" version=""
  if [[ -r /etc/os-release ]]; then
    # shellcheck disable=SC1091
    read -r id like version < <(. /etc/os-release && echo "${ID:-?} ${ID_LIKE:-none} ${VERSION_ID:-?}" | tr -s ' ')
  fi
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die "this is not a Debian-like system (no apt-get; ${id:-unknown system}). Roost is built from Debian 12's packages: use a Debian 12 machine or container."
  [[ $id == debian && $version == 12 ]] ||
    warn "made for Debian 12, this is ${id:-unknown} ${version:-}: package names and versions may differ."
}

# Debian starts services when it installs them unless this file says no. One that exists already is the administrator's.
POLICY=/usr/sbin/policy-rc.d
POLICY_IS_OURS=no
forbid_service_starts() {
  [[ -e $POLICY || -L $POLICY ]] && return 0
  POLICY_IS_OURS=yes
  printf '#!/bin/sh\n# Made by Roost deploy/install.sh for the time of one installation.\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}
restore_policy() { [[ $POLICY_IS_OURS == no ]] || rm -f "$POLICY"; }

update_lists() {
  local attempt
  for attempt in 1 2 3; do
    apt-get update -qq && return 0
    warn "apt-get update failed (attempt $attempt of 3)"
    sleep $((attempt * 3))
  done
  # Third-party sources may be down while Debian's own are fine: the check below decides.
  warn "going on with the package lists that are here"
}

check_available() {
  local name unavailable=""
  for name in "$@"; do
    [[ -n "$(apt-cache madison "$name" 2>/dev/null)" ]] || unavailable+=" $name"
  done
  [[ -z $unavailable ]] ||
    die "this system's package sources do not have:$unavailable. Roost needs Debian 12 (bookworm) packages; check /etc/apt/sources.list."
}

keep_services_off() {
  local name
  command -v systemctl >/dev/null || return 0
  for name in "$@"; do
    case $name in
      haproxy) systemctl disable --now haproxy.service >/dev/null 2>&1 || true ;;
      redis-server) systemctl disable --now redis-server.service >/dev/null 2>&1 || true ;;
      nginx*) systemctl disable --now nginx.service >/dev/null 2>&1 || true ;;
    esac
  done
}

install_as_root() {
  exec 9>/run/lock/roost-install.lock
  flock -w 900 9 || die "another installation has been running for 15 minutes"
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
  update_lists
  check_available "$@"
  trap restore_policy EXIT
  trap 'exit 130' INT TERM HUP
  forbid_service_starts
  apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o APT::Acquire::Retries=3 \
    -o Dpkg::Use-Pty=0 "$@" </dev/null || die "apt-get could not install the packages; its message is above"
  keep_services_off "$@"
}

main() {
  local dry_run=no sets=() wanted=() missing=() set
  while (($#)); do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --dry-run) dry_run=yes ;;
      -*) die "unknown option $1 (see --help)" ;;
      *) sets+=("$1") ;;
    esac
    shift
  done
  ((${#sets[@]})) || { usage >&2; exit 2; }
  for set in "${sets[@]}"; do
    # A separate assignment, so that an unknown set ends the script.
    local names; names="$(packages_of "$set")"
    # shellcheck disable=SC2206
    wanted+=($names)
  done
  command -v dpkg-query >/dev/null || check_system
  # shellcheck disable=SC2207
  missing=($(missing_of "${wanted[@]}" | tr ' ' '\n' | sort -u))
  ((${#missing[@]})) || exit 0
  if [[ $dry_run == yes ]]; then
    say "missing: ${missing[*]}"
    exit 1
  fi
  check_system
  if (($(id -u) != 0)); then
    command -v sudo >/dev/null ||
      die "missing packages: ${missing[*]}. Run this as root, or install sudo."
    say "Installing with sudo: ${missing[*]}"
    if [[ -t 0 ]]; then exec sudo -- bash "$ROOST_ROOT/deploy/install.sh" "${sets[@]}"; fi
    exec sudo -n -- bash "$ROOST_ROOT/deploy/install.sh" "${sets[@]}"
  fi
  say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  install_as_root "${missing[@]}"
}

main "$@"
