#!/usr/bin/env python3
"""Measures what a proxied request costs: no proxy, HAProxy, nginx, Roost as owner, Roost forwarding to the owner.

The subject has one core to itself; load generator (wrk) and application (nginx) share another. Rounds are interleaved, so that a slow
moment of the machine hits every subject; a ratio is the median of the rounds' ratios. CPU time is the kernel's account of the
subject's processes over the run. Called by deploy/bench.sh.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
FREE_PORTS = os.path.join(HERE, "..", "..", "deploy", "demo", "free_ports.py")
SUBJECTS = ("direct", "haproxy", "nginx", "roost-local", "roost-forward")
# The first two that we may use: containers are often given others than 0 and 1.
SUBJECT_CORE, LOAD_CORE = [str(core) for core in (sorted(os.sched_getaffinity(0)) * 2)[:2]]
CONNECTIONS = 32
REPLY_BYTES = 1024

APPLICATION_CONFIG = """
worker_processes 1; daemon off; master_process off; pid {dir}/app.pid; error_log {dir}/app.err warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type text/html;
{temp_paths}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "{reply}"; }}
    location /login {{ add_header Set-Cookie "JSESSIONID=$request_id; Path=/; HttpOnly"; return 200 "hello"; }}
  }}
}}
"""

NGINX_CONFIG = """
worker_processes 1; daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.err warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
{temp_paths}
  upstream app {{ server 127.0.0.1:{app}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
    }}
  }}
}}
"""

HAPROXY_CONFIG = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
frontend in
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend app
backend app
    server app 127.0.0.1:{app}
"""

# threads: 1, as HAProxy and nginx have one.
ROOST_CONFIG = """
node:    {{name: {name}, data_dir: {dir}/{name}}}
cluster: {{name: bench, seeds: ["{peers[0]}", "{peers[1]}"], listen: "{peer}", forward_listen: "127.0.0.1:{forward}"}}
proxy:   {{listen: "127.0.0.1:{port}", app: "127.0.0.1:{app}", threads: 1}}
api:     {{listen: "127.0.0.1:{api}"}}
admin:   {{listen: "127.0.0.1:{admin}"}}
"""


class BenchError(Exception):
    """The bench can't go on; the message says why."""


class Processes:
    """What the bench has started, each on a core, with its output in a file."""

    def __init__(self, directory):
        self._directory = directory
        self._running = {}

    def start(self, name, core, command):
        with open(os.path.join(self._directory, name + ".log"), "wb") as log:
            self._running[name] = subprocess.Popen(
                ["taskset", "-c", core] + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def check(self):
        for name, process in self._running.items():
            if process.poll() is not None:
                raise BenchError("%s ended with %s: %s" % (name, process.returncode, self._last_words(name)))

    def cpu_seconds(self, names):
        """User and system time so far of these processes, all threads."""
        ticks = 0
        for name in names:
            with open("/proc/%d/stat" % self._running[name].pid) as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(timeout=8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _last_words(self, name):
        with open(os.path.join(self._directory, name + ".log"), errors="replace") as log:
            return " | ".join(log.read().strip().splitlines()[-3:])


class Bench:
    """The application, all subjects, and how to load one of them."""

    def __init__(self, directory, roostd, seconds):
        self._dir = directory
        self._roostd = roostd
        self._seconds = seconds
        self._processes = Processes(directory)
        self._sessions = {}
        ports = [int(p) for p in subprocess.check_output([sys.executable, FREE_PORTS, "13"]).split()]
        self._app, self._haproxy, self._nginx = ports[:3]
        self._nodes = [dict(zip(("port", "peer", "forward", "api", "admin"), ports[at:at + 5])) for at in (3, 8)]
        roost = self._nodes[0]["port"]
        # Subject: port to load, processes whose CPU time counts, whose session is asked for.
        self._plan = {
            "direct": (self._app, ["application"], None),
            "haproxy": (self._haproxy, ["haproxy"], None),
            "nginx": (self._nginx, ["nginx"], None),
            "roost-local": (roost, ["roost-1"], 0),
            "roost-forward": (roost, ["roost-1", "roost-2"], 1),
        }

    def start(self):
        self._start_nginx("application", LOAD_CORE, APPLICATION_CONFIG, self._app, reply="x" * REPLY_BYTES)
        self._start_nginx("nginx", SUBJECT_CORE, NGINX_CONFIG, self._nginx, app=self._app)
        haproxy = self._write("haproxy.cfg", HAPROXY_CONFIG.format(port=self._haproxy, app=self._app))
        self._processes.start("haproxy", SUBJECT_CORE, [find("haproxy"), "-db", "-f", haproxy])
        for i in (0, 1):
            self._start_roost(i)
        for port in (self._app, self._haproxy, self._nginx):
            self._wait("http://127.0.0.1:%d/" % port)
        for i, node in enumerate(self._nodes):
            self._wait("http://127.0.0.1:%d/readyz" % node["admin"])
            self._sessions[i] = self._log_in(node["port"])
        self._check_forwarding()

    def stop(self):
        self._processes.stop()

    def measure(self, subject):
        port, names, session_owner = self._plan[subject]
        cookie = self._sessions.get(session_owner, "0" * 32)
        before = self._processes.cpu_seconds(names)
        output = subprocess.check_output(
            ["taskset", "-c", LOAD_CORE, "wrk", "-t1", "-c%d" % CONNECTIONS, "-d%ds" % self._seconds,
             "-s", os.path.join(HERE, "browser.lua"), "http://127.0.0.1:%d" % port, "--", cookie],
            text=True, stderr=subprocess.STDOUT)
        cpu = self._processes.cpu_seconds(names) - before
        self._processes.check()
        found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
        if not found:
            raise BenchError("wrk printed no result:\n" + output)
        result = json.loads(found.group(1))
        if result["errors"] or not result["requests"]:
            raise BenchError("%s: %d requests, %d errors" % (subject, result["requests"], result["errors"]))
        return {
            "requests_per_s": result["requests"] * 1e6 / result["duration_us"],
            "cpu_us_per_request": cpu * 1e6 / result["requests"],
            "p50_us": result["p50_us"],
            "p99_us": result["p99_us"],
        }

    def _start_nginx(self, name, core, template, port, **values):
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temp_paths = " ".join("%s_temp_path %s/%s-%s;" % (kind, self._dir, name, kind) for kind in kinds)
        config = template.format(dir=self._dir, port=port, temp_paths=temp_paths, **values)
        path = self._write(name + ".conf", config)
        error_log = os.path.join(self._dir, name + ".start.err")
        self._processes.start(name, core, [find("nginx"), "-e", error_log, "-c", path])

    def _start_roost(self, i):
        node = self._nodes[i]
        name = "roost-%d" % (i + 1)
        peers = ["127.0.0.1:%d" % n["peer"] for n in self._nodes]
        config = ROOST_CONFIG.format(name=name, dir=self._dir, peers=peers, peer=peers[i], forward=node["forward"],
                                     port=node["port"], app=self._app, api=node["api"], admin=node["admin"])
        path = self._write(name + ".yaml", config)
        self._processes.start(name, SUBJECT_CORE, [self._roostd, "--config", path])

    def _write(self, name, text):
        path = os.path.join(self._dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _wait(self, url):
        deadline = time.monotonic() + 20
        while True:
            self._processes.check()
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except (OSError, urllib.error.URLError) as error:
                if time.monotonic() > deadline:
                    raise BenchError("%s does not answer: %s" % (url, error)) from error
                time.sleep(0.1)

    def _log_in(self, port):
        """A session owned by the node with this port: the application there sets the cookie."""
        with urllib.request.urlopen("http://127.0.0.1:%d/login" % port, timeout=5) as answer:
            cookie = answer.headers.get("Set-Cookie", "")
        return re.match(r"JSESSIONID=(\w+)", cookie).group(1)

    def _check_forwarding(self):
        """The bench means what it says only if node 1 serves its session and forwards the other."""
        for owner, route in ((0, "local"), (1, "forward")):
            before = self._routed(route)
            request = urllib.request.Request("http://127.0.0.1:%d/" % self._nodes[0]["port"],
                                             headers={"Cookie": "JSESSIONID=" + self._sessions[owner]})
            with urllib.request.urlopen(request, timeout=5) as answer:
                answer.read()
            if self._routed(route) != before + 1:
                raise BenchError("a request that node 1 should route '%s' was not" % route)

    def _routed(self, route):
        url = "http://127.0.0.1:%d/metrics" % self._nodes[0]["admin"]
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        found = re.search(r'^roost_proxy_routed_total\{route="%s"\} (\S+)$' % route, text, re.MULTILINE)
        return float(found.group(1)) if found else 0


def find(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise BenchError("%s is not installed (deploy/install.sh bench)" % program)
    return path


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "haproxy": first_line([find("haproxy"), "-v"]),
        "nginx": first_line([find("nginx"), "-v"]),
    }


def first_line(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.split("\n")[0]


def summarize(rounds):
    """Medians of the rounds; `rounds` is a list of {subject: figures}."""
    rows = []
    for subject in SUBJECTS:
        row = {"subject": subject}
        for key in ("requests_per_s", "cpu_us_per_request", "p50_us", "p99_us"):
            row[key] = round(statistics.median(r[subject][key] for r in rounds), 2)
        row["cpu_ratio_to_haproxy"] = round(statistics.median(
            r[subject]["cpu_us_per_request"] / r["haproxy"]["cpu_us_per_request"] for r in rounds), 3)
        rows.append(row)
    return rows


def forward_to_local(rounds):
    return round(statistics.median(
        r["roost-forward"]["cpu_us_per_request"] / r["roost-local"]["cpu_us_per_request"] for r in rounds), 3)


def print_table(result):
    host = result["machine"]
    print("\n  %s, %d cores, Linux %s\n  %s; %s" % (host["cpu"], host["cores"], host["kernel"], host["haproxy"], host["nginx"]))
    print("  %d keep-alive connections, %d-byte replies; medians of %d rounds of %d s\n" %
          (CONNECTIONS, REPLY_BYTES, result["rounds"], result["seconds"]))
    print("  %-14s %12s %16s %10s %10s %14s" %
          ("subject", "requests/s", "CPU us/request", "p50 us", "p99 us", "CPU / HAProxy"))
    for row in result["subjects"]:
        print("  %-14s %12.0f %16.2f %10.0f %10.0f %14s" % (
            row["subject"], row["requests_per_s"], row["cpu_us_per_request"], row["p50_us"], row["p99_us"],
            "-" if row["subject"] == "direct" else "%.2f" % row["cpu_ratio_to_haproxy"]))
    print("\n  direct: CPU of the application itself. roost-forward: both sidecars together, %.2f x roost-local." %
          result["forward_to_local_cpu_ratio"])


def run(args, directory):
    bench = Bench(directory, args.roostd, args.seconds)
    rounds = []
    try:
        bench.start()
        for i in range(args.rounds + 1):
            order = SUBJECTS[i % len(SUBJECTS):] + SUBJECTS[:i % len(SUBJECTS)]
            figures = {}
            for subject in order:
                figures[subject] = bench.measure(subject)
                print("  round %s  %-14s %8.0f requests/s  %6.2f us CPU" % (
                    i or "warm-up", subject, figures[subject]["requests_per_s"], figures[subject]["cpu_us_per_request"]),
                      flush=True)
            if i > 0:
                rounds.append(figures)
    finally:
        bench.stop()
    result = {"subjects": summarize(rounds), "rounds": args.rounds, "seconds": args.seconds,
              "forward_to_local_cpu_ratio": forward_to_local(rounds), "machine": machine()}
    print_table(result)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--roostd", required=True, help="the binary to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load per subject and round")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    # TERM and HUP end the bench as Ctrl-C does: everything it started is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="roost-bench.") as directory:
        try:
            run(args, directory)
        except (BenchError, OSError, subprocess.CalledProcessError) as error:
            print("bench: %s" % error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
