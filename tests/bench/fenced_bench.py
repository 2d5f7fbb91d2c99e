#!/usr/bin/env python3
"""Measures what the mode `fenced` costs: beside `available` in the same three roostd processes, with the same number of copies.

Get and Put, rounds interleaved, a ratio being the median of the rounds' ratios; the same fsync for both. Then the lease messages of a pair
of nodes at rest, with no session, with a thousand and with a hundred thousand. Then, in clusters of their own, the time from a SIGKILL of
an owner until its successor serves. Called by deploy/bench.sh.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time

import harness
from harness import BenchError, Processes

VALUE_BYTES = 1024
SESSIONS = 10_000
REST_SESSIONS = (0, 1_000, 100_000)
LEASE_MS = 3_000
NODES = ("one", "two", "three")
MODES = ("available", "fenced")
# Label: kind of load and its options. A write of either mode is acknowledged by its owner and one copy more.
LOADS = {
    "get": ("unary", {"call": "get", "in_flight": 32}),
    "put": ("unary", {"call": "put", "in_flight": 32, "ack": "one"}),
    "put pipelined": ("stream", {"call": "put", "in_flight": 256, "ack": "one"}),
}
GET_MIN, PUT_MIN, TAKEOVER_MS_MAX, WHOLE_MS_MAX = 0.9, 0.7, 500, 4_000

CONFIG = """
node:    {{name: {name}, data_dir: {dir}/{name}}}
cluster: {{name: bench, seeds: ["127.0.0.1:{seed}"], listen: "127.0.0.1:{peer}", forward_listen: "127.0.0.1:{forward}", expect: 3}}
proxy:   {{listen: "127.0.0.1:{port}", app: "127.0.0.1:{app}", threads: 1}}
api:     {{listen: "", socket: {dir}/{name}.sock}}
admin:   {{listen: "127.0.0.1:{admin}"}}
store:   {{copies: 2, fenced_copies: 2, fenced_namespaces: [fenced], lease_ms: {lease}, fsync: {fsync},
          fenced_failures: {failures}, pending_max: 20000, cache_bytes: 256MiB}}
"""


class Cluster:
    def __init__(self, directory, args):
        self._dir, self._args = directory, args
        self.processes = Processes(directory)
        self._ports = {name: dict(zip(("peer", "forward", "port", "app", "admin"), harness.free_ports(5))) for name in NODES}

    def start(self):
        failures = "power_cuts" if self._args.fsync == "always" else "killed_processes"
        for name in NODES:
            path = os.path.join(self._dir, name + ".yaml")
            with open(path, "w") as file:
                file.write(CONFIG.format(name=name, dir=self._dir, seed=self._ports["one"]["peer"], lease=LEASE_MS,
                                         fsync=self._args.fsync, failures=failures, **self._ports[name]))
            self.processes.start(name, [self._args.roostd, "--config", path])
        for name in NODES:
            self.processes.wait_http("http://127.0.0.1:%d/readyz" % self._ports[name]["admin"], seconds=60)
        harness.wait_until(lambda: all(self.metric(name, r'roost_members\{state="alive"\}') == len(NODES) for name in NODES),
                           "the nodes find each other", self.processes)

    def target(self, name):
        return "unix:%s/%s.sock" % (self._dir, name)

    def metric(self, name, pattern, default=None):
        return harness.metric(self._ports[name]["admin"], pattern, default)

    def load(self, name, kind, **options):
        return harness.store_load(self._args.load, kind, self.target(name), **options)

    def fill(self, mode, sessions, value_bytes=VALUE_BYTES):
        self.load("one", "stream", call="put", ack="one", sessions=sessions, value_bytes=value_bytes, in_flight=256, fill=True,
                  namespace=mode)


def measure_calls(cluster, args):
    for mode in MODES:
        cluster.fill(mode, SESSIONS)
    rounds = []
    for i in range(args.rounds + 1):
        figures = {}
        for label, (kind, options) in LOADS.items():
            # Which of a pair goes first alternates.
            for mode in MODES if i % 2 else reversed(MODES):
                before = cluster.processes.cpu_seconds(NODES)
                found = cluster.load("one", kind, sessions=SESSIONS, value_bytes=VALUE_BYTES, seconds=args.seconds, namespace=mode,
                                     **options)
                cluster.processes.check()
                found["cpu_us"] = (cluster.processes.cpu_seconds(NODES) - before) * 1e6 / found["operations"]
                figures[label, mode] = found
                print("  round %s  %-14s %-10s %8.0f/s  %7.2f us CPU  p50 %8.1f us  p99 %8.1f us" % (
                    i or "warm-up", label, mode, found["per_s"], found["cpu_us"], found["p50_us"], found["p99_us"]), flush=True)
        if i:
            rounds.append(figures)
    rows = []
    for label in LOADS:
        row = {"call": label, "ratio": round(statistics.median(r[label, "fenced"]["per_s"] / r[label, "available"]["per_s"]
                                                               for r in rounds), 3)}
        for mode in MODES:
            row[mode] = {key: round(statistics.median(r[label, mode][key] for r in rounds), 1)
                         for key in ("per_s", "cpu_us", "p50_us", "p99_us")}
        rows.append(row)
    return rows


def lease_messages(cluster):
    return sum(cluster.metric(name, r"roost_store_lease_messages_total", 0) for name in NODES)


def measure_leases(args, directory):
    """Messages per second of one pair of nodes, both ways, while nobody calls."""
    found = []
    pairs = len(NODES) * (len(NODES) - 1) / 2
    for sessions in REST_SESSIONS:
        path = os.path.join(directory, "rest-%d" % sessions)
        os.mkdir(path)
        cluster = Cluster(path, args)
        try:
            cluster.start()
            if sessions:
                cluster.fill("fenced", sessions, value_bytes=64)
            time.sleep(LEASE_MS / 1000)
            before, begin = lease_messages(cluster), time.monotonic()
            time.sleep(max(10, args.seconds))
            found.append({"sessions": sessions,
                          "per_pair_per_s": round((lease_messages(cluster) - before) / pairs / (time.monotonic() - begin), 3)})
        finally:
            cluster.processes.stop()
        shutil.rmtree(path)
    return found


def measure_takeovers(args, directory):
    """A client asks another node for one session, 100 times a second; its owner is killed."""
    gaps = []
    for i in range(args.kills):
        path = os.path.join(directory, "kill-%d" % i)
        os.mkdir(path)
        cluster = Cluster(path, args)
        try:
            cluster.start()
            cluster.fill("fenced", 1)
            seen = {}
            reader = threading.Thread(target=lambda: seen.update(cluster.load(
                "two", "paced", call="get", sessions=1, rate=100, seconds=10, namespace="fenced", through_failures=True)))
            reader.start()
            time.sleep(1.5 + i % 7 * 0.2)  # Not always at the same moment of a lease.
            cluster.processes.kill("one")
            reader.join()
            if not seen:
                raise BenchError("the successor did not serve within 10 s")
            gaps.append(seen["gap_ms"])
            print("  kill %d: served again after %.0f ms" % (i + 1, seen["gap_ms"]), flush=True)
        finally:
            cluster.processes.stop()
        shutil.rmtree(path)
    return gaps


def run(args):
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 << 30 else None
    if args.on_disk:
        base = None
    with tempfile.TemporaryDirectory(prefix="roost-bench.", dir=base) as directory:
        cluster = Cluster(directory, args)
        try:
            cluster.start()
            rows = measure_calls(cluster, args)
        finally:
            cluster.processes.stop()
        leases = measure_leases(args, directory)
        gaps = measure_takeovers(args, directory)
    worst = max(gaps)
    ratios = {row["call"]: row["ratio"] for row in rows}
    result = {"calls": rows, "leases": leases, "lease_ms": LEASE_MS, "takeover_ms": gaps,
              "takeover_ms_median": round(statistics.median(gaps), 1), "fsync": args.fsync, "value_bytes": VALUE_BYTES,
              "sessions": SESSIONS, "rounds": args.rounds, "seconds": args.seconds, "machine": harness.machine()}
    print("\n  %s, %d cores, Linux %s; three nodes, 2 copies, fsync %s, data %s\n" % (
        result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["kernel"], args.fsync,
        "in memory" if base else "on disk"))
    print("  %-14s %-10s %10s %14s %10s %10s" % ("call", "mode", "per s", "CPU us each", "p50 us", "p99 us"))
    for row in rows:
        for mode in MODES:
            print("  %-14s %-10s %10.0f %14.2f %10.0f %10.0f" % (
                row["call"], mode, row[mode]["per_s"], row[mode]["cpu_us"], row[mode]["p50_us"], row[mode]["p99_us"]))
    # A node without fenced sessions asks for no leases.
    rates = [entry["per_pair_per_s"] for entry in leases if entry["sessions"]]
    targets = [
        ("Get fenced / available %.2f (at least %.1f)" % (ratios["get"], GET_MIN), ratios["get"] >= GET_MIN),
        ("Put fenced / available %.2f, pipelined %.2f (at least %.1f)" % (ratios["put"], ratios["put pipelined"], PUT_MIN),
         min(ratios["put"], ratios["put pipelined"]) >= PUT_MIN),
        ("lease messages of a pair per second: %s (the same with any number of sessions, none without)" % ", ".join(
            "%.2f with %d sessions" % (entry["per_pair_per_s"], entry["sessions"]) for entry in leases),
         0 < max(rates) <= 1.25 * min(rates)),
        ("killed owner to successor serving: %.0f ms at worst of %d, lease %d ms (lease + %d ms, and %d ms in all)" % (
            worst, len(gaps), LEASE_MS, TAKEOVER_MS_MAX, WHOLE_MS_MAX), worst < min(LEASE_MS + TAKEOVER_MS_MAX, WHOLE_MS_MAX)),
    ]
    print()
    for text, met in targets:
        print("  %-7s %s" % ("met" if met else "missed", text))
    print()
    result["targets_met"] = [met for _, met in targets]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--roostd", required=True, help="the binary to measure")
    parser.add_argument("--load", required=True, help="store_load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load per call, mode and round")
    parser.add_argument("--kills", type=int, default=5, help="takeovers to measure")
    parser.add_argument("--fsync", choices=("always", "interval", "never"), default="always")
    parser.add_argument("--on-disk", action="store_true", help="data in TMPDIR, also where /dev/shm has room")
    parser.add_argument("--json", help="write the figures to this file")
    return harness.main(run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
