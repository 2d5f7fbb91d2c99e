#!/usr/bin/env python3
"""Measures the session store beside what else one could use: an empty gRPC echo of the same message sizes, and Redis with a replica.

store: real roostd processes, their data in memory where the machine has /dev/shm, as Redis keeps its. Rounds are interleaved, so that
a slow moment of the machine hits every subject; a ratio is the median of the rounds' ratios. CPU is the kernel's account of the
subject's processes. join: a second node joins one that holds many large sessions. Called by deploy/bench.sh.
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
MILLION = 1_000_000

# pending_max: the load keeps up to 4,096 calls under way.
ROOST_CONFIG = """
node:    {{name: {name}, data_dir: {dir}/{name}}}
cluster: {{name: bench, seeds: ["127.0.0.1:{seed}"], listen: "127.0.0.1:{peer}", forward_listen: "127.0.0.1:{forward}"}}
proxy:   {{listen: "127.0.0.1:{port}", app: "127.0.0.1:{app}", threads: 1}}
api:     {{listen: "", socket: {dir}/{name}.sock}}
admin:   {{listen: "127.0.0.1:{admin}"}}
store:   {{copies: {copies}, pending_max: 20000, cache_bytes: {cache}}}
"""


class Nodes:
    """roostd processes of one cluster, and the load on them."""

    def __init__(self, directory, args, processes):
        self._dir = directory
        self._args = args
        self._processes = processes
        self._ports = {}
        self._seed = None

    def start(self, name, copies, cache_mib=64):
        # The same after a restart.
        if name not in self._ports:
            self._ports[name] = dict(zip(("peer", "forward", "port", "app", "admin"), harness.free_ports(5)))
        values = self._ports[name]
        self._seed = self._seed or values["peer"]
        path = os.path.join(self._dir, name + ".yaml")
        with open(path, "w") as file:
            file.write(ROOST_CONFIG.format(name=name, dir=self._dir, copies=copies, cache=cache_mib << 20,
                                           seed=self._seed, **values))
        self._processes.start(name, [self._args.roostd, "--config", path])

    def socket(self, name):
        return "unix:%s/%s.sock" % (self._dir, name)

    def await_ready(self, name):
        self._processes.wait_http("http://127.0.0.1:%d/readyz" % self._ports[name]["admin"], seconds=60)

    def metric(self, name, pattern):
        return harness.metric(self._ports[name]["admin"], pattern)


def load(args, kind, target, **options):
    return harness.store_load(args.load, kind, target, **options)


def fill(args, target, sessions, value_bytes=VALUE_BYTES, ack="local", in_flight=512):
    load(args, "stream", target, call="put", ack=ack, sessions=sessions, value_bytes=value_bytes, in_flight=in_flight, fill=True)


class StoreBench:
    """Throughput and latency: a lone node beside the echo, a pair beside Redis with a replica."""

    # Subject: what runs it (processes whose CPU counts), and its load.
    PLAN = {
        "echo get": (["echo"], "unary", {"call": "echo_get"}),
        "roost get": (["lone"], "unary", {"call": "get"}),
        "echo put": (["echo"], "unary", {"call": "echo_put"}),
        "roost put": (["lone"], "unary", {"call": "put", "ack": "local"}),
        "redis 32": (["primary", "replica"], "redis", {"in_flight": 32}),
        "roost one 32": (["one", "two"], "stream", {"in_flight": 32}),
        "redis 512": (["primary", "replica"], "redis", {"in_flight": 512}),
        "roost one 512": (["one", "two"], "stream", {"in_flight": 512}),
        "roost get paced": (["lone"], "paced", {"call": "get", "rate": 1000}),
        "echo get paced": (["echo"], "paced", {"call": "echo_get", "rate": 1000}),
        "replication lag": (["one", "two"], "stream", {"rate": 10_000, "in_flight": 4000}),
    }

    def __init__(self, directory, args):
        self._dir = directory
        self._args = args
        self._processes = Processes(directory)
        self._targets = {"echo": "unix:%s/echo.sock" % directory}

    def start(self):
        args, pair = self._args, Nodes(self._dir, self._args, self._processes)
        lone = Nodes(self._dir, args, self._processes)
        self._processes.start("echo", [args.echo, "%s/echo.sock" % self._dir])
        for name in ("one", "two"):
            pair.start(name, copies=1)
        lone.start("lone", copies=0)
        primary, replica = map(str, harness.free_ports(2))
        redis = [find_redis(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self._dir]
        self._processes.start("primary", redis + ["--port", primary])
        self._processes.start("replica", redis + ["--port", replica, "--replicaof", "127.0.0.1", primary])
        for nodes, name in ((pair, "one"), (pair, "two"), (lone, "lone")):
            nodes.await_ready(name)
            self._targets[name] = nodes.socket(name)
        self._await_pair(pair)
        self._targets["primary"] = "127.0.0.1:" + primary
        fill(args, self._targets["lone"], SESSIONS)
        fill(args, self._targets["one"], SESSIONS, ack="one")
        self._await_replica()

    def stop(self):
        self._processes.stop()

    def measure(self, subject):
        names, kind, options = self.PLAN[subject]
        before = self._processes.cpu_seconds(names)
        figures = load(self._args, kind, self._targets[names[0]], sessions=SESSIONS, value_bytes=VALUE_BYTES,
                       seconds=self._args.seconds, **options)
        self._processes.check()
        figures["cpu_us"] = (self._processes.cpu_seconds(names) - before) * 1e6 / figures["operations"]
        return figures

    def _await_pair(self, pair):
        deadline = time.monotonic() + 20
        while pair.metric("one", r'roost_members\{state="alive"\}') < 2:
            if time.monotonic() > deadline:
                raise BenchError("the nodes do not find each other")
            time.sleep(0.1)

    # A replica takes its first seconds to synchronize.
    def _await_replica(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                load(self._args, "redis", self._targets["primary"], in_flight=1, seconds=0.1)
                return
            except BenchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def measure_million(directory, args):
    """One node with many sessions: memory, reads, restart."""
    processes = Processes(directory)
    nodes = Nodes(directory, args, processes)
    paced = {"call": "get", "rate": 1000, "seconds": max(3, args.seconds)}
    try:
        nodes.start("many", copies=0, cache_mib=256)
        nodes.await_ready("many")
        few = nodes.socket("many")
        fill(args, few, SESSIONS)
        load(args, "paced", few, sessions=SESSIONS, **paced)
        few_p50 = load(args, "paced", few, sessions=SESSIONS, **paced)["p50_us"]
        fill(args, few, args.million)
        load(args, "paced", few, sessions=args.million, **paced)
        many_p50 = load(args, "paced", few, sessions=args.million, **paced)["p50_us"]
        rss = processes.memory_mib("many")
        processes.kill("many")
        begin = time.monotonic()
        nodes.start("many", copies=0, cache_mib=256)
        nodes.await_ready("many")
        load(args, "paced", few, sessions=args.million, call="get", rate=100, seconds=0.05)
        restart, restart_cpu = time.monotonic() - begin, processes.cpu_seconds(["many"])
        # What sessions cost in memory besides RocksDB's caches: two starts, next to no cache, with many and with none.
        processes.kill("many")
        nodes.start("many", copies=0, cache_mib=1)
        nodes.await_ready("many")
        with_many = processes.memory_mib("many")
        processes.kill("many")
        alone = Nodes(directory, args, processes)
        alone.start("none", copies=0, cache_mib=1)
        alone.await_ready("none")
        state = (with_many - processes.memory_mib("none")) * (1 << 20) / args.million
    finally:
        processes.stop()
    return {"sessions": args.million, "rss_mib": round(rss, 1), "get_p50_us": many_p50, "get_p50_few_us": few_p50,
            "get_p50_ratio": round(many_p50 / few_p50, 3), "restart_s": round(restart, 2), "restart_cpu_s": round(restart_cpu, 2),
            "bytes_per_session": round(state)}


def run_store(args, directory):
    bench = StoreBench(directory, args)
    rounds = []
    try:
        bench.start()
        for i in range(args.rounds + 1):
            subjects = list(bench.PLAN)
            # Pairs stay together; which of a pair goes first alternates.
            if i % 2:
                subjects.reverse()
            figures = {}
            for subject in subjects:
                figures[subject] = bench.measure(subject)
                print("  round %s  %-16s %8.0f/s  %7.2f us CPU  p50 %8.1f us  p99 %8.1f us" % (
                    i or "warm-up", subject, figures[subject]["per_s"], figures[subject]["cpu_us"],
                    figures[subject]["p50_us"], figures[subject]["p99_us"]), flush=True)
            if i:
                rounds.append(figures)
    finally:
        bench.stop()

    def median(subject, key):
        return statistics.median(r[subject][key] for r in rounds)

    def ratio(one, other):
        return round(statistics.median(r[one]["per_s"] / r[other]["per_s"] for r in rounds), 3)

    result = {
        "get_ratio_to_echo": ratio("roost get", "echo get"),
        "put_ratio_to_echo": ratio("roost put", "echo put"),
        "get_p50_us": round(median("roost get paced", "p50_us"), 1),
        "echo_p50_us": round(median("echo get paced", "p50_us"), 1),
        "put_one_ratio_to_redis_wait": {"32": ratio("roost one 32", "redis 32"), "512": ratio("roost one 512", "redis 512")},
        "replication_lag_ms_p99": round(median("replication lag", "p99_us") / 1000, 3),
        "subjects": [{"subject": s, **{k: round(median(s, k), 2) for k in ("per_s", "cpu_us", "client_cpu_us", "p50_us", "p99_us")}}
                     for s in StoreBench.PLAN],
        "value_bytes": VALUE_BYTES, "sessions": SESSIONS, "rounds": args.rounds, "seconds": args.seconds, "machine": machine(),
    }
    print("\n  %s, %d cores, Linux %s; %s\n  %d sessions of %d bytes, medians of %d rounds of %d s; CPU is the servers'\n" % (
        result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["kernel"], result["machine"]["redis"],
        SESSIONS, VALUE_BYTES, args.rounds, args.seconds))
    print("  %-16s %10s %14s %10s %10s" % ("subject", "per s", "CPU us each", "p50 us", "p99 us"))
    for row in result["subjects"]:
        print("  %-16s %10.0f %14.2f %10.0f %10.0f" % (
            row["subject"], row["per_s"], row["cpu_us"], row["p50_us"], row["p99_us"]))
    print("\n  Get / echo %.2f, Put / echo %.2f, Put with one copy / Redis SET + WAIT 1: %.2f with 32 in flight, %.2f with 512" % (
        result["get_ratio_to_echo"], result["put_ratio_to_echo"],
        result["put_one_ratio_to_redis_wait"]["32"], result["put_one_ratio_to_redis_wait"]["512"]))
    print("  replication lag: from the client's send to its answer that a copy has it, so an upper bound\n", flush=True)
    million_dir = os.path.join(directory, "million")
    os.mkdir(million_dir)
    result["million"] = measure_million(million_dir, args)
    print("  %(sessions)d sessions: %(rss_mib).0f MiB resident with 256 MiB of cache, Get p50 %(get_p50_us).0f us (%(get_p50_ratio).2f x "
          "that of a few), restarted and serving in %(restart_s).2f s (%(restart_cpu_s).2f s of CPU), %(bytes_per_session)d bytes of state each\n" % result["million"])
    return result


def run_join(args, directory):
    processes = Processes(directory)
    nodes = Nodes(directory, args, processes)
    kib = 150
    try:
        nodes.start("sender", copies=1)
        nodes.await_ready("sender")
        target = nodes.socket("sender")
        fill(args, target, args.join_sessions, value_bytes=kib << 10, in_flight=8)
        load(args, "paced", target, call="get", sessions=args.join_sessions, rate=1000, seconds=3)
        before = processes.memory_mib("sender")
        processes.reset_peak("sender")
        gets = {}
        reader = threading.Thread(target=lambda: gets.update(
            load(args, "paced", target, call="get", sessions=args.join_sessions, rate=200, seconds=args.seconds)))
        begin = time.monotonic()
        nodes.start("joiner", copies=1)
        nodes.await_ready("joiner")
        reader.start()
        while nodes.metric("joiner", r'roost_sessions\{role="copied"\}') < args.join_sessions:
            processes.check()
            if time.monotonic() - begin > 300:
                raise BenchError("the joining node has not got everything within 300 s")
            time.sleep(0.05)
        seconds = time.monotonic() - begin
        reader.join()
        if not gets:
            raise BenchError("the reads beside the join failed")
        growth = processes.memory_mib("sender", "VmHWM") - before
    finally:
        processes.stop()
    result = {"sessions": args.join_sessions, "mib": round(args.join_sessions * kib / 1024, 1), "seconds": round(seconds, 2),
              "sender_growth_mib": round(growth, 1), "sender_get_p99_ms": round(gets["p99_us"] / 1000, 3), "machine": machine()}
    print("\n  %(sessions)d sessions, %(mib).0f MiB: the joining node, from its start, has them all in %(seconds).1f s; the sender grew by "
          "%(sender_growth_mib).0f MiB (peak), its Get p99 meanwhile %(sender_get_p99_ms).2f ms\n" % result)
    return result


def find_redis():
    return harness.find("redis-server", "bench-store")


def machine():
    return harness.machine(redis=" ".join(harness.first_line([find_redis(), "--version"]).split()[:3]))


def run(args):
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 6 << 30 else None
    if base is None:
        print("  /dev/shm has no room of 6 GiB: data lies on disk, unlike that of Redis")
    with tempfile.TemporaryDirectory(prefix="roost-bench.", dir=base) as directory:
        return (run_store if args.subject == "store" else run_join)(args, directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("subject", choices=("store", "join"))
    parser.add_argument("--roostd", required=True, help="the binary to measure")
    parser.add_argument("--load", required=True, help="store_load")
    parser.add_argument("--echo", required=True, help="echo_server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load per subject and round")
    parser.add_argument("--million", type=int, default=MILLION, help="sessions of the memory figures")
    parser.add_argument("--join-sessions", type=int, default=7_000, help="of 150 KiB each")
    parser.add_argument("--json", help="write the figures to this file")
    return harness.main(run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
