"""Runs libFuzzer targets one after the other until a number of executions is reached; see deploy/fuzz.sh --help.

Every round gives each target a share of time, so that an interrupted campaign has looked at all of them. What a target finds worth
keeping stays in the work folder for its next round; the seeds in the repository are only read. A finding is a crash, a failed
assertion, a sanitizer's report, a run that takes too long or too much memory: its input is kept and named, and the exit code is 1.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
# A datagram has 1,200 bytes, and more than a little above that is refused for its length alone.
INPUT_BYTES_MAX = 1500


class Finding(Exception):
    """A target failed: its name, its last words, and where its input lies."""


class Campaign:
    def __init__(self, options):
        self.options = options
        self.executions = {name: 0 for name in options.targets}
        self.seconds = {name: 0.0 for name in options.targets}
        self.findings = []
        self.child = None

    def round(self, name, seconds):
        """Runs one target for about `seconds`."""
        work = os.path.join(self.options.work, name)
        found = os.path.join(self.options.work, "findings") + os.sep
        os.makedirs(work, exist_ok=True)
        os.makedirs(found, exist_ok=True)
        command = [
            os.path.join(self.options.binaries, name), work, os.path.join(self.options.corpus, name),
            f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-print_final_stats=1", "-timeout=10",
            "-rss_limit_mb=2048", f"-artifact_prefix={found}{name}-",
        ]
        begin = time.monotonic()
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      text=True, errors="replace")
        tail = []
        executed = None
        for line in self.child.stderr:
            tail = (tail + [line])[-40:]
            match = EXECUTED.search(line)
            if match:
                executed = int(match.group(1))
        code = self.child.wait()
        self.child = None
        self.seconds[name] += time.monotonic() - begin
        self.executions[name] += executed or 0
        if code != 0 or executed is None:
            self.findings.append(name)
            raise Finding(f"{name} ended with {code}:\n{''.join(tail)}its input lies under {found}")

    def run(self):
        begin = time.monotonic()
        while not self.done(time.monotonic() - begin):
            for name in filter(self.wanted, self.options.targets):
                left = self.options.seconds - (time.monotonic() - begin) if self.options.seconds else self.options.slice
                self.round(name, max(1, int(min(left, self.options.slice))))
                if self.done(time.monotonic() - begin):
                    break
            print(f"{sum(self.executions.values()):,} executions", flush=True)

    def wanted(self, name):
        return not self.options.runs_each or self.executions[name] < self.options.runs_each

    def done(self, elapsed):
        if self.options.runs and sum(self.executions.values()) >= self.options.runs and all(self.executions.values()):
            return True
        if self.options.runs_each and not any(map(self.wanted, self.options.targets)):
            return True
        return bool(self.options.seconds) and elapsed >= self.options.seconds

    def result(self):
        return {
            "executions": sum(self.executions.values()),
            "findings": len(self.findings),
            "targets": [{
                "target": name,
                "executions": self.executions[name],
                "seconds": round(self.seconds[name], 1),
                "findings": self.findings.count(name),
            } for name in self.options.targets],
        }


def table(result):
    lines = [f"{'target':24} {'executions':>14} {'seconds':>9} {'findings':>9}"]
    for row in result["targets"]:
        lines.append(f"{row['target']:24} {row['executions']:14,} {row['seconds']:9.1f} {row['findings']:9}")
    lines.append(f"{'sum':24} {result['executions']:14,} {sum(r['seconds'] for r in result['targets']):9.1f} "
                 f"{result['findings']:9}")
    return "\n".join(lines)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", required=True, help="folder of the targets built by clang")
    parser.add_argument("--corpus", required=True, help="folder with a folder of seeds per target")
    parser.add_argument("--work", required=True, help="folder for what is found")
    parser.add_argument("--targets", required=True, type=lambda text: text.split(","))
    parser.add_argument("--runs", type=int, default=0, help="end when so many executions are reached in all")
    parser.add_argument("--runs-each", type=int, default=0, help="end when every target has reached so many executions")
    parser.add_argument("--seconds", type=int, default=0, help="end after so long")
    parser.add_argument("--slice", type=int, default=60, help="seconds per target and round")
    parser.add_argument("--json")
    options = parser.parse_args(arguments)
    if not options.runs and not options.runs_each and not options.seconds:
        parser.error("one of --runs, --runs-each and --seconds is needed")
    return options


def main(arguments):
    campaign = Campaign(parse(arguments))

    def stop(number, _):
        if campaign.child:
            campaign.child.kill()
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 0
    try:
        campaign.run()
    except Finding as finding:
        print(finding, file=sys.stderr)
        code = 1
    except SystemExit as stopped:  # By a signal: what was done until then counts.
        code = stopped.code
    result = campaign.result()
    print(table(result))
    if campaign.options.json:
        with open(campaign.options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
