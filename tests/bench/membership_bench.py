#!/usr/bin/env python3
"""Measures how soon members know of a killed and of a silent one: Roost's gossip beside hashicorp/memberlist with its LAN defaults.

Each node is a process of its own (gossip_node, tests/bench/memberlist) that prints what it learns with CLOCK_MONOTONIC; this program
starts and hurts them and compares with the same clock. Every round begins with a new cluster, subjects take turns and never run at
the same time. Bytes are the kernel's count of the loopback interface of a private network namespace, IP and link headers included.
Called by deploy/bench.sh.
"""
import argparse
import fcntl
import os
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

import harness
from harness import BenchError, percentile

SUBJECTS = ("roost", "memberlist")
# Lets what the last fault left behind (raised local health, refutations on their way) settle.
SETTLE_S = 3
KNOWN_MAX_S = 120
WHOLE_MAX_S = 90
# Under starvation: busy loops at normal priority on the one core where all nodes run at the lowest.
HOGS = 8
LOWEST_PRIORITY = 19


class Node:
    """One process; `states` is what it printed last about each member."""

    def __init__(self, name, address):
        self.name = name
        self.address = address
        self.epoch = 0
        self.process = None
        self.states = {}
        self.deaths = []  # (ns, name)

    def alive(self):
        return {name for name, state in self.states.items() if state in ("alive", "suspect")}


class Cluster:
    """The nodes of one subject, from start to stop."""

    def __init__(self, subject, program, size):
        self.subject = subject
        self._program = program
        self._lock = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self.nodes = [Node("n%d" % i, "127.0.0.1:%d" % port) for i, port in enumerate(harness.free_ports(size))]
        # Deaths of these count as true: name -> ns since when.
        self._hurt = {}
        self.false_deaths = 0
        self._ends, self._end = os.pipe()
        self._selector.register(self._ends, selectors.EVENT_READ)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def start(self):
        self._reader.start()
        for node in self.nodes:
            self.start_node(node)
        self.wait_whole()

    def start_node(self, node):
        if node.process:
            node.process.stdin.close()
        node.epoch += 1
        node.states = {}
        seeds = ",".join(other.address for other in self.nodes[:3] if other is not node)
        node.process = subprocess.Popen(
            [self._program, "--name", node.name, "--listen", node.address, "--seeds", seeds, "--epoch", str(node.epoch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._selector.register(node.process.stdout, selectors.EVENT_READ, [node, b""])

    def wait_whole(self):
        names = {node.name for node in self.nodes}
        if not self._wait(lambda: all(node.alive() == names for node in self.nodes), WHOLE_MAX_S):
            raise BenchError("%s: %d nodes did not come together in %d s" % (self.subject, len(names), WHOLE_MAX_S))
        with self._lock:
            self._hurt = {}

    def hurt(self, victim, number):
        """Sends the signal; returns the ms after which each of the others knew that the victim is dead."""
        with self._lock:
            since = time.monotonic_ns()
            self._hurt[victim.name] = since
        victim.process.send_signal(number)
        if number == signal.SIGKILL:
            victim.process.wait()
        others = [node for node in self.nodes if node is not victim]

        def known(node):
            return next((ns for ns, name in node.deaths if name == victim.name and ns >= since), None)

        if not self._wait(lambda: all(known(node) for node in others), KNOWN_MAX_S):
            raise BenchError("%s: a dead node was not known to all %d s later" % (self.subject, KNOWN_MAX_S))
        return [(known(node) - since) / 1e6 for node in others]

    def starve(self, core):
        """From now on all nodes run on one core at the lowest priority."""
        for node in self.nodes:
            for thread in map(int, os.listdir("/proc/%d/task" % node.process.pid)):
                os.sched_setaffinity(thread, {core})
                os.setpriority(os.PRIO_PROCESS, thread, LOWEST_PRIORITY)

    def stop(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
        for node in self.nodes:
            if node.process:
                node.process.wait()
        os.write(self._end, b"x")
        self._reader.join()
        for fd in (self._ends, self._end):
            os.close(fd)

    def _wait(self, condition, seconds):
        with self._lock:
            deadline = time.monotonic() + seconds
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._lock.wait(left)
            return True

    def _read(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._ends:
                    return
                data = os.read(key.fd, 65536)
                if not data:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                node, rest = key.data
                *lines, key.data[1] = (rest + data).split(b"\n")
                with self._lock:
                    for line in lines:
                        self._take(node, *line.decode().split())
                    self._lock.notify_all()

    def _take(self, node, ns, state, name):
        node.states[name] = state
        if state != "dead":
            return
        node.deaths.append((int(ns), name))
        if int(ns) < self._hurt.get(name, 1 << 63):
            self.false_deaths += 1


class Hogs:
    """Busy loops on one core, for as long as this process lives."""

    def __init__(self, core):
        loop = "while kill -0 %d 2>/dev/null; do :; done" % os.getpid()
        self._processes = [subprocess.Popen(["taskset", "-c", str(core), "sh", "-c", loop]) for _ in range(HOGS)]

    def stop(self):
        for process in self._processes:
            process.kill()
            process.wait()


def loopback_bytes():
    with open("/proc/net/dev") as file:
        for line in file:
            name, _, fields = line.partition(":")
            if name.strip() == "lo":
                return int(fields.split()[8])
    raise BenchError("no loopback interface in /proc/net/dev")


def raise_loopback():
    """In a new network namespace the interface is down. True if this is one, so nobody else uses it."""
    set_flags, get_flags, up = 0x8914, 0x8913, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, get_flags, request))[1]
        if flags & up:
            return False
        fcntl.ioctl(control, set_flags, struct.pack("16sh14x", b"lo", flags | up))
    return True


class Bench:
    """Runs the measurements and keeps the samples, by (subject, nodes)."""

    def __init__(self, programs, args):
        self._programs = programs
        self._args = args
        self.samples = {(subject, size): {"killed": [], "silent": [], "stray": 0, "starved": 0, "bytes": None}
                        for size in args.nodes for subject in SUBJECTS}

    def run(self):
        for size in self._args.nodes:
            for number in range(self._args.rounds):
                turn = number % len(SUBJECTS)
                for subject in SUBJECTS[turn:] + SUBJECTS[:turn]:
                    self._with_cluster(subject, size, lambda cluster, i=number: self._round(cluster, i))
            for subject in SUBJECTS:
                self._with_cluster(subject, size, self._steady)
            for subject in SUBJECTS:
                self._with_cluster(subject, size, self._starve)

    def _with_cluster(self, subject, size, measure):
        cluster = Cluster(subject, self._programs[subject], size)
        try:
            cluster.start()
            time.sleep(SETTLE_S)
            measure(cluster)
        finally:
            cluster.stop()

    def _of(self, cluster):
        return self.samples[(cluster.subject, len(cluster.nodes))]

    def _round(self, cluster, number):
        size = len(cluster.nodes)
        victim = cluster.nodes[number % size]
        killed = cluster.hurt(victim, signal.SIGKILL)
        cluster.start_node(victim)
        cluster.wait_whole()
        time.sleep(SETTLE_S)
        victim = cluster.nodes[(number + 1) % size]
        silent = cluster.hurt(victim, signal.SIGSTOP)
        victim.process.send_signal(signal.SIGCONT)
        cluster.wait_whole()
        samples = self._of(cluster)
        samples["killed"] += killed
        samples["silent"] += silent
        samples["stray"] += cluster.false_deaths
        print("  %2d nodes, round %d  %-10s  killed: all know after %6.0f ms, silent: %6.0f ms" %
              (size, number + 1, cluster.subject, max(killed), max(silent)), flush=True)

    def _steady(self, cluster):
        seconds = self._args.seconds
        before, since = loopback_bytes(), time.monotonic()
        time.sleep(seconds)
        rate = (loopback_bytes() - before) / (time.monotonic() - since) / len(cluster.nodes)
        self._of(cluster)["bytes"] = rate
        self._of(cluster)["stray"] += cluster.false_deaths
        print("  %2d nodes, steady   %-10s  %.0f bytes/s per node" % (len(cluster.nodes), cluster.subject, rate), flush=True)

    def _starve(self, cluster):
        core = max(os.sched_getaffinity(0))
        cluster.starve(core)
        hogs = Hogs(core)
        try:
            time.sleep(self._args.seconds)
        finally:
            hogs.stop()
        self._of(cluster)["starved"] += cluster.false_deaths
        print("  %2d nodes, starved  %-10s  %d false deaths" % (len(cluster.nodes), cluster.subject, cluster.false_deaths),
              flush=True)


def summarize(samples):
    rows = []
    for (subject, size), got in samples.items():
        rows.append({
            "subject": subject,
            "nodes": size,
            "killed_known_ms": {"p50": round(statistics.median(got["killed"])), "p99": round(percentile(got["killed"], 0.99))},
            "silent_known_ms": {"p50": round(statistics.median(got["silent"])), "p99": round(percentile(got["silent"], 0.99))},
            "samples": len(got["killed"]),
            "false_deaths": got["starved"],
            # Live nodes called dead in the rounds, by nobody's starvation.
            "false_deaths_unstarved": got["stray"],
            "bytes_per_node_per_s": round(got["bytes"]),
        })
    return rows


def ratios(rows, sizes):
    """Roost's figure over memberlist's."""
    found = {(row["subject"], row["nodes"]): row for row in rows}
    out = []
    for size in sizes:
        ours, theirs = (found[(subject, size)] for subject in SUBJECTS)
        ratio = {"nodes": size}
        for key in ("killed_known_ms", "silent_known_ms"):
            ratio[key] = {p: round(ours[key][p] / theirs[key][p], 3) for p in ("p50", "p99")}
        ratio["bytes_per_node_per_s"] = round(ours["bytes_per_node_per_s"] / theirs["bytes_per_node_per_s"], 3)
        out.append(ratio)
    return out


def print_table(result):
    host = result["machine"]
    print("\n  %s, %d cores, Linux %s; %s" % (host["cpu"], host["cores"], host["kernel"], host["memberlist"]))
    print("  %d rounds; %d s steady and %d s starved; network: %s\n" %
          (result["rounds"], result["seconds"], result["seconds"], result["network"]))
    print("  %-11s %6s %15s %9s %15s %9s %14s %14s" % (
        "subject", "nodes", "killed p50 ms", "p99", "silent p50 ms", "p99", "false deaths", "B/s per node"))
    for row in result["subjects"]:
        print("  %-11s %6d %15d %9d %15d %9d %14d %14d" % (
            row["subject"], row["nodes"], row["killed_known_ms"]["p50"], row["killed_known_ms"]["p99"],
            row["silent_known_ms"]["p50"], row["silent_known_ms"]["p99"], row["false_deaths"], row["bytes_per_node_per_s"]))
    for row in result["ratios"]:
        print("  %-11s %6d %15.2f %9.2f %15.2f %9.2f %14s %14.2f" % (
            "ratio", row["nodes"], row["killed_known_ms"]["p50"], row["killed_known_ms"]["p99"],
            row["silent_known_ms"]["p50"], row["silent_known_ms"]["p99"], "", row["bytes_per_node_per_s"]))
    stray = sum(row["false_deaths_unstarved"] for row in result["subjects"])
    print("\n  Times: until a survivor knows, over all survivors and rounds. False deaths: live nodes called dead while starved, counted\n"
          "  at each node that did so; %d more in the rounds without starvation. Ratio: Roost / memberlist." % stray)


def run(args):
    private = raise_loopback()
    bench = Bench({"roost": args.roost, "memberlist": args.memberlist}, args)
    bench.run()
    rows = summarize(bench.samples)
    result = {"subjects": rows, "ratios": ratios(rows, args.nodes), "rounds": args.rounds, "seconds": args.seconds,
              "network": "private namespace" if private else "the host's loopback (bytes of others count too)",
              "machine": harness.machine(memberlist=args.memberlist_version)}
    print_table(result)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--roost", required=True, help="the gossip_node binary")
    parser.add_argument("--memberlist", required=True, help="the binary of tests/bench/memberlist")
    parser.add_argument("--memberlist-version", default="hashicorp/memberlist")
    parser.add_argument("--nodes", type=lambda text: [int(n) for n in text.split(",")], default=[3, 20])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=30, help="of steady state, and of starvation")
    parser.add_argument("--json", help="write the figures to this file")
    return harness.main(run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
