#!/usr/bin/env python3
"""Measures what a proxied request costs: no proxy, HAProxy, nginx, Roost as owner, Roost forwarding to the owner.

The subject has one core to itself; load generator (wrk) and application (nginx) share another. Rounds are interleaved, so that a slow
moment of the machine hits every subject; a ratio is the median of the rounds' ratios. CPU time is the kernel's account of the
subject's processes over the run. Cases and what they mean: proxy.md. Called by deploy/bench.sh.
"""
import argparse
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import failover
import harness
from harness import BenchError, find
from proxy_subjects import BOTH_CORES, LOAD_CORE, REPLY_BYTES, SUBJECT_CORE, Stage, negotiated

CONNECTIONS = 32
PAGE = "/catalogue/fruit/apples"
PROXIES = ("haproxy", "nginx", "roost-local")
FIGURES = ("requests_per_s", "cpu_us_per_request", "p50_us", "p99_us")
# Case: its subjects, and the load. In the order of the JSON.
LOADS = {
    "1k": (("direct",) + PROXIES, {}),
    "forward": (PROXIES + ("roost-forward",), {}),
    "one-connection": (("direct", "haproxy", "roost-local", "roost-forward"), {"connections": 1}),
    "100k": (("direct",) + PROXIES, {"path": "/files/100k"}),
    "100k-up": (("direct",) + PROXIES, {"path": "/upload", "upload": 100 << 10}),
    "1m": (("direct",) + PROXIES, {"path": "/files/1m"}),
    "1m-up": (("direct",) + PROXIES, {"path": "/upload", "upload": 1 << 20}),
    "tls": (PROXIES, {"tls": True}),
    "tls-handshake": (PROXIES, {"tls": True, "close": True}),
}
OTHERS = ("two-cores", "million-sessions", "idle-1k", "idle-10k", "failover")
CASES = tuple(LOADS) + OTHERS
IDLE = {"idle-1k": 1_000, "idle-10k": 10_000}
SESSIONS = {"thousand": 1_000, "million": 1_000_000}
FAILOVER_ROUNDS_MAX = 3


def drive(processes, names, port, seconds, cookie="0" * 32, path=PAGE, upload=0, close=False, sessions=None, tls=False,
          connections=CONNECTIONS, cores=LOAD_CORE):
    """Loads the port with wrk; the figures. `names`: whose CPU time counts."""
    words = [cookie, path, str(upload), "close" if close else "keep"] + ([str(sessions)] if sessions else [])
    before = processes.cpu_seconds(names)
    output = subprocess.check_output(
        ["taskset", "-c", cores, find("wrk", "bench"), "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "10s",
         "-s", os.path.join(harness.HERE, "browser.lua"), "%s://127.0.0.1:%d" % ("https" if tls else "http", port), "--"] + words,
        text=True, stderr=subprocess.STDOUT)
    cpu = processes.cpu_seconds(names) - before
    processes.check()
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if not found:
        raise BenchError("wrk printed no result:\n" + output)
    result = json.loads(found.group(1))
    if result["errors"] or not result["requests"]:
        raise BenchError("port %d: %d requests, %d errors" % (port, result["requests"], result["errors"]))
    return {
        "requests_per_s": result["requests"] * 1e6 / result["duration_us"],
        "cpu_us_per_request": cpu * 1e6 / result["requests"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
    }


def interleave(case, subjects, rounds, measure):
    """One warm-up and `rounds` rounds of all subjects; who begins goes around. A list of {subject: figures}."""
    kept = []
    for i in range(rounds + 1):
        at = i % len(subjects)
        figures = {}
        for subject in subjects[at:] + subjects[:at]:
            figures[subject] = measure(subject)
            print("  %-16s round %-8s %-26s %8.0f requests/s  %8.2f us CPU" % (
                case, i or "warm-up", subject, figures[subject]["requests_per_s"], figures[subject]["cpu_us_per_request"]), flush=True)
        if i > 0:
            kept.append(figures)
    return kept


def rows_of(case, subjects, rounds):
    """Medians of the rounds, and medians of the rounds' ratios."""
    rows = []
    for subject in subjects:
        row = {"subject": subject, "case": case}
        for key in FIGURES:
            row[key] = round(statistics.median(r[subject][key] for r in rounds), 2)
        for other in ("haproxy", "nginx"):
            if other in subjects:
                row["cpu_ratio_to_" + other] = ratio(rounds, subject, other)
        rows.append(row)
    return rows


def ratio(rounds, one, other, key="cpu_us_per_request"):
    return round(statistics.median(r[one][key] / r[other][key] for r in rounds), 3)


class Bench:
    def __init__(self, args, directory):
        self._args = args
        self._dir = directory
        self.rows = []
        self.extra = {}

    def run(self):
        wanted = [case for case in LOADS if case in self._args.cases]
        if wanted:
            self._with_stage("plain", lambda stage: self._loads(stage, wanted))
        for case, measure in (("two-cores", self._two_cores), ("million-sessions", self._sessions)):
            if case in self._args.cases:
                self._with_stage(case, measure)
        for case, connections in IDLE.items():
            if case in self._args.cases:
                self._idle(case, connections)
        if "failover" in self._args.cases:
            self._failover()

    def _with_stage(self, name, measure):
        directory = os.path.join(self._dir, name)
        os.mkdir(directory)
        stage = Stage(directory, self._args.roostd)
        try:
            stage.start_application()
            return measure(stage)
        finally:
            stage.stop()

    def _loads(self, stage, cases):
        stage.start_nginx()
        stage.start_haproxy()
        stage.start_roosts(["roost-1", "roost-2"])
        sessions = [stage.log_in(name) for name in ("roost-1", "roost-2")]
        stage.check_route("roost-1", sessions[0], "local")
        stage.check_route("roost-1", sessions[1], "forward")
        # Subject: what listens, whose CPU time counts, whose session is asked for.
        plan = {
            "direct": ("application", ["application"], "0" * 32),
            "haproxy": ("haproxy", ["haproxy"], "0" * 32),
            "nginx": ("nginx", ["nginx"], "0" * 32),
            "roost-local": ("roost-1", ["roost-1"], sessions[0]),
            "roost-forward": ("roost-1", ["roost-1", "roost-2"], sessions[1]),
        }
        if any("tls" in LOADS[case][1] for case in cases):
            spoken = {name: negotiated(stage.port(name, "tls")) for name in ("haproxy", "nginx", "roost-1")}
            if len(set(spoken.values())) > 1:
                raise BenchError("not the same TLS: %s" % spoken)
            self.extra["tls"] = " ".join(spoken["roost-1"]) + ", ECDSA P-256"
        for case in cases:
            subjects, options = LOADS[case]
            kind = "tls" if options.get("tls") else "port"

            def measure(subject, options=options, kind=kind):
                name, counted, cookie = plan[subject]
                return drive(stage.processes, counted, stage.port(name, kind), self._args.seconds, cookie, **options)

            rounds = interleave(case, subjects, self._args.rounds, measure)
            rows = rows_of(case, subjects, rounds)
            if case == "forward":
                self.extra["forward_to_local_cpu_ratio"] = ratio(rounds, "roost-forward", "roost-local")
                rows = rows[-1:]  # The others are there for its ratios.
            if case == "one-connection":
                self.extra["forward_added_p50_us"] = round(statistics.median(
                    r["roost-forward"]["p50_us"] - r["roost-local"]["p50_us"] for r in rounds), 1)
            self.rows += rows

    def _two_cores(self, stage):
        """Roost with one and with two loops, both free to use both cores, on which the load runs too."""
        subjects = {"roost-one-core": 1, "roost-two-cores": 2}
        sessions, shares = {}, []
        for name, threads in subjects.items():
            stage.start_roosts([name], threads=threads, cores=SUBJECT_CORE if threads == 1 else BOTH_CORES)
            sessions[name] = stage.log_in(name)

        def measure(name):
            before = thread_ticks(stage.processes.pid(name))
            figures = drive(stage.processes, [name], stage.port(name), self._args.seconds, sessions[name], connections=256,
                            cores=BOTH_CORES)
            after = thread_ticks(stage.processes.pid(name))
            spent = sorted((after[thread] - before.get(thread, 0) for thread in after), reverse=True)
            if subjects[name] == 2:
                shares.append(spent[0] / sum(spent[:2]))
            return figures

        rounds = interleave("two-cores", tuple(subjects), self._args.rounds, measure)
        self.rows += rows_of("two-cores", tuple(subjects), rounds)
        share = statistics.median(shares[1:])
        cost = ratio(rounds, "roost-two-cores", "roost-one-core")
        self.extra["two_cores"] = {"busier_loop_share": round(share, 3), "cpu_ratio_to_one_core": cost,
                                   "capacity_to_one_core": round(1 / share / cost, 3),
                                   "throughput_to_one_core": ratio(rounds, "roost-two-cores", "roost-one-core", "requests_per_s")}

    def _sessions(self, stage):
        """A node that knows a thousand sessions beside one that knows a million."""
        names = {"roost-" + count: number for count, number in SESSIONS.items()}
        for name, number in names.items():
            stage.start_roosts([name])
            print("  million-sessions %s: filling %d sessions" % (name, number), flush=True)
            harness.store_load(self._args.load, "stream", "127.0.0.1:%d" % stage.port(name, "api"), call="put", ack="local",
                               sessions=number, value_bytes=16, in_flight=512, fill=True)
            owned = stage.metric(name, r'roost_sessions\{role="owned"\}')
            if owned != number:
                raise BenchError("%s owns %d sessions, not %d" % (name, owned, number))
            wait_quiet(stage.processes, name)
        # Subject: the node, and how many of its sessions are visited.
        plan = {"roost-thousand": ("roost-thousand", SESSIONS["thousand"]), "roost-million": ("roost-million", SESSIONS["thousand"]),
                "roost-million-all-visited": ("roost-million", SESSIONS["million"])}

        def measure(subject):
            name, visited = plan[subject]
            return drive(stage.processes, [name], stage.port(name), self._args.seconds, "bench-%010d", sessions=visited)

        rounds = interleave("million-sessions", tuple(plan), self._args.rounds, measure)
        self.rows += rows_of("million-sessions", tuple(plan), rounds)
        self.extra["million_to_thousand_sessions_cpu_ratio"] = {
            "thousand_visited": ratio(rounds, "roost-million", "roost-thousand"),
            "all_visited": ratio(rounds, "roost-million-all-visited", "roost-thousand")}

    def _idle(self, case, connections):
        """Fresh processes each round: memory before and with idle connections, then the load of 1k beside them."""
        memory = {name: [] for name in PROXIES}

        def one_round(number):
            def measure(stage):
                stage.start_nginx()
                stage.start_haproxy()
                stage.start_roosts(["roost-local"])
                cookies = {"roost-local": stage.log_in("roost-local")}
                held, figures = [], {}
                try:
                    for name in PROXIES:
                        cookie = cookies.get(name, "0" * 32)
                        drive(stage.processes, [name], stage.port(name), 1, cookie)
                        before = stage.processes.memory_mib(name)
                        idle = open_idle(stage.port(name), connections, cookie)
                        held += idle
                        memory[name].append((stage.processes.memory_mib(name) - before) * (1 << 20) / connections)
                        figures[name] = drive(stage.processes, [name], stage.port(name), self._args.seconds, cookie)
                        print("  %-16s round %-8d %-26s %8.0f requests/s  %8.2f us CPU  %8.0f bytes each" % (
                            case, number, name, figures[name]["requests_per_s"], figures[name]["cpu_us_per_request"],
                            memory[name][-1]), flush=True)
                        if any(closed(connection) for connection in idle):
                            raise BenchError("%s closed idle connections" % name)
                        # One subject's connections at a time: descriptors are few.
                        while held:
                            held.pop().close()
                finally:
                    for connection in held:
                        connection.close()
                return figures
            return self._with_stage("%s-%d" % (case, number), measure)

        rounds = [one_round(number + 1) for number in range(self._args.rounds)]
        rows = rows_of(case, PROXIES, rounds)
        for row in rows:
            row["memory_per_connection_bytes"] = round(statistics.median(memory[row["subject"]]))
        self.rows += rows

    def _failover(self):
        runs = []
        for number in range(min(self._args.rounds, FAILOVER_ROUNDS_MAX)):
            directory = os.path.join(self._dir, "failover-%d" % number)
            os.mkdir(directory)
            runs.append(failover.measure(directory, self._args.roostd))
            print("  failover         round %-8d first good answer p99 %.0f ms, failed: %s" % (
                number + 1, harness.percentile(runs[-1]["good_ms"], 0.99), runs[-1]["failed"] or "none"), flush=True)
        self.extra["failover"] = failover.summarize(runs)


def wait_quiet(processes, name):
    """Until what the fill left to be done (compactions) is done: a second of hardly any CPU time."""
    for _ in range(120):
        before = processes.cpu_seconds([name])
        time.sleep(1)
        if processes.cpu_seconds([name]) - before < 0.03:
            return
    raise BenchError("%s is still busy two minutes after it was filled" % name)


def thread_ticks(pid):
    """User and system time of each thread."""
    ticks = {}
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/stat" % (pid, thread)) as file:
            fields = file.read().rpartition(")")[2].split()
        ticks[thread] = int(fields[11]) + int(fields[12])
    return ticks


def open_idle(port, count, cookie):
    """Connections that have had one answer each and now say nothing."""
    request = ("GET / HTTP/1.1\r\nHost: bench\r\nCookie: JSESSIONID=%s\r\n\r\n" % cookie).encode()
    held = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            held.append(connection)
            connection.sendall(request)
            answer = b""
            while not (b"\r\n\r\n" in answer and len(answer.partition(b"\r\n\r\n")[2]) >= REPLY_BYTES):
                got = connection.recv(8192)
                if not got:
                    raise BenchError("port %d closed connection %d" % (port, len(held)))
                answer += got
    except (OSError, BenchError):
        for connection in held:
            connection.close()
        raise
    return held


def closed(connection):
    try:
        connection.setblocking(False)
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def targets(result):
    """What the project promises, what was measured, and whether that is kept. Only what was measured."""
    rows = {(row["case"], row["subject"]): row for row in result["subjects"]}
    out = []

    def check(name, measured, limit, least=False):
        if measured is not None:
            out.append({"target": name, "limit": limit, "measured": measured, "met": measured >= limit if least else measured <= limit})

    for case in ("1k", "100k", "100k-up", "1m", "1m-up", "idle-1k", "idle-10k"):
        local = rows.get((case, "roost-local"))
        if not local:
            continue
        for other in ("haproxy", "nginx"):
            check("%s: CPU / %s" % (case, other), local["cpu_ratio_to_" + other], 0.92)
            check("%s: p99 / %s" % (case, other), round(local["p99_us"] / rows[(case, other)]["p99_us"], 3), 1.0)
        if "memory_per_connection_bytes" in local:
            theirs = max(1, rows[(case, "haproxy")]["memory_per_connection_bytes"])
            check("%s: memory of an idle connection / haproxy" % case, round(local["memory_per_connection_bytes"] / theirs, 2), 1.5)
    check("forward: CPU of both sidecars / roost-local", result.get("forward_to_local_cpu_ratio"), 2.0)
    check("forward: added p50 us, one connection", result.get("forward_added_p50_us"), 150)
    for case in ("tls", "tls-handshake"):
        if (case, "roost-local") in rows:
            check("%s: CPU / haproxy" % case, rows[(case, "roost-local")]["cpu_ratio_to_haproxy"], 1.0)
    check("two cores: capacity / one", result.get("two_cores", {}).get("capacity_to_one_core"), 1.8, least=True)
    for visited, measured in result.get("million_to_thousand_sessions_cpu_ratio", {}).items():
        check("a million sessions, %s: CPU / a thousand" % visited.replace("_", " "), measured, 1.1)
    if "failover" in result:
        check("failover: first good answer p99 ms", result["failover"]["first_good_ms"]["p99"], 1000)
        check("failover: failed, but for POSTs in flight", result["failover"]["failed_others"], 0)
    return out


def print_table(result):
    host = result["machine"]
    print("\n  %s, %d cores, Linux %s\n  %s; %s" % (host["cpu"], host["cores"], host["kernel"], host["haproxy"], host["nginx"]))
    print("  %d keep-alive connections, %d-byte replies unless the case says otherwise; medians of %d rounds of %d s\n" %
          (CONNECTIONS, REPLY_BYTES, result["rounds"], result["seconds"]))
    print("  %-17s %-26s %11s %15s %9s %9s %13s %11s %11s" % (
        "case", "subject", "requests/s", "CPU us/request", "p50 us", "p99 us", "CPU / HAProxy", "CPU / nginx", "bytes each"))
    for row in result["subjects"]:
        ratios = ["-" if row["subject"] == "direct" or key not in row else "%.2f" % row[key]
                  for key in ("cpu_ratio_to_haproxy", "cpu_ratio_to_nginx")]
        print("  %-17s %-26s %11.0f %15.2f %9.0f %9.0f %13s %11s %11s" % (
            row["case"], row["subject"], row["requests_per_s"], row["cpu_us_per_request"], row["p50_us"], row["p99_us"], *ratios,
            row.get("memory_per_connection_bytes", "-")))
    print("\n  direct: CPU of the application itself. roost-forward: both sidecars together.\n")
    if "failover" in result:
        print("  failover: %(visitors)d visitors of killed nodes, first good answer p50 %(p50).0f ms, p99 %(p99).0f ms, max %(max).0f ms; "
              "failed: %(failed)s\n" % {**result["failover"], **result["failover"]["first_good_ms"]})
    for row in result["targets"]:
        print("  %-6s %-60s %10s, limit %s" % ("met" if row["met"] else "MISSED", row["target"], row["measured"], row["limit"]))


def run(args):
    # Ten thousand idle connections need descriptors, here and in the subjects, which inherit this.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="roost-bench.") as directory:
        bench = Bench(args, directory)
        bench.run()
    result = {"subjects": bench.rows, "rounds": args.rounds, "seconds": args.seconds, **bench.extra, "machine": harness.machine(
        haproxy=harness.first_line([find("haproxy", "bench"), "-v"]), nginx=harness.first_line([find("nginx", "bench"), "-v"]))}
    result["targets"] = targets(result)
    print_table(result)
    return result


def case_list(text):
    cases = text.split(",")
    for case in cases:
        if case not in CASES:
            raise argparse.ArgumentTypeError("there is no case '%s', but %s" % (case, ", ".join(CASES)))
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--roostd", required=True, help="the binary to measure")
    parser.add_argument("--load", required=True, help="store_load")
    parser.add_argument("--cases", type=case_list, default=list(CASES), help="of %s" % ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of load per subject and round")
    parser.add_argument("--json", help="write the figures to this file")
    return harness.main(run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
