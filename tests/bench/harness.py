"""What the benchmarks share: processes with their CPU time and memory, waiting for them, the machine, the way to end."""
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
_FREE_PORTS = os.path.join(HERE, "..", "..", "deploy", "demo", "free_ports.py")
# What a process gets to end by itself.
_STOP_S = 8


class BenchError(Exception):
    """The bench can't go on; the message says why."""


class Processes:
    """What the bench has started, with its output in a file. Names are its own."""

    def __init__(self, directory):
        self._directory = directory
        self._running = {}

    def start(self, name, command, cores=None):
        """`cores`: a list as taskset takes it, e.g. "0,1"; None: wherever the kernel likes."""
        pinned = ["taskset", "-c", cores] if cores else []
        with open(os.path.join(self._directory, name + ".log"), "wb") as log:
            self._running[name] = subprocess.Popen(pinned + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def check(self):
        for name, process in self._running.items():
            if process.poll() is not None:
                raise BenchError("%s ended with %s: %s" % (name, process.returncode, self._last_words(name)))

    def pid(self, name):
        return self._running[name].pid

    def cpu_seconds(self, names):
        """User and system time so far of these processes, all threads."""
        ticks = 0
        for name in names:
            with open("/proc/%d/stat" % self.pid(name)) as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, name, field="VmRSS"):
        with open("/proc/%d/status" % self.pid(name)) as file:
            return int(re.search(r"^%s:\s+(\d+) kB" % field, file.read(), re.MULTILINE).group(1)) / 1024

    def reset_peak(self, name):
        with open("/proc/%d/clear_refs" % self.pid(name), "w") as file:
            file.write("5")

    def kill(self, name):
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, *names):
        """These, or all: TERM first, KILL to what is left."""
        ending = [self._running.pop(name) for name in names or tuple(self._running)]
        for process in ending:
            if process.poll() is None:
                process.terminate()
        for process in ending:
            try:
                process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_http(self, url, seconds=20):
        """Until it answers 200; an error if it does not, or if a process ends meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except (OSError, urllib.error.URLError) as error:
                if time.monotonic() > deadline:
                    raise BenchError("%s does not answer: %s" % (url, error)) from error
                time.sleep(0.02)

    def _last_words(self, name):
        with open(os.path.join(self._directory, name + ".log"), errors="replace") as log:
            return " | ".join(log.read().strip().splitlines()[-3:])


def wait_until(condition, what, processes, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        processes.check()
        if time.monotonic() > deadline:
            raise BenchError("%s: not within %d s" % (what, seconds))
        time.sleep(0.02)


def free_ports(count):
    return [int(port) for port in subprocess.check_output([sys.executable, _FREE_PORTS, str(count)]).split()]


def metric(admin_port, pattern, default=None):
    """The value of the series that the regular expression matches."""
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % admin_port, timeout=5) as answer:
        found = re.search("^" + pattern + r" (\S+)$", answer.read().decode(), re.MULTILINE)
    if found:
        return float(found.group(1))
    if default is None:
        raise BenchError("no metric " + pattern)
    return default


def store_load(program, kind, target, **options):
    """Runs the load generator of the store (store_load.cc); its figures."""
    command = [program, kind, "--target=" + target]
    for name, value in options.items():
        command.append("--%s" % name if value is True else "--%s=%s" % (name, value))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise BenchError("store_load %s: %s" % (kind, done.stderr.strip() or done.returncode))
    return json.loads(done.stdout)


def find(program, packages):
    """Its path. `packages` is the set of deploy/install.sh that has it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise BenchError("%s is not installed (deploy/install.sh %s)" % (program, packages))
    return path


def first_line(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.split("\n")[0]


def machine(**programs):
    """This machine, and the versions of the other programs that were measured."""
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), **programs}


def percentile(values, share):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main(run, args):
    """Runs `run(args)`, writes what it returns to args.json if that is given; the exit code."""
    # TERM and HUP end the bench as Ctrl-C does: everything it started is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        result = run(args)
        if args.json:
            with open(args.json, "w") as file:
                json.dump(result, file, indent=2)
                file.write("\n")
    except (BenchError, OSError, subprocess.CalledProcessError) as error:
        print("bench: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
