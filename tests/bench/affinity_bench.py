"""What each affinity format costs: CPU per request of the proxy alone, relative to format none in the same rounds.

Needs nginx and wrk. A session that is owned here, replies of 1 kB; SOAP is a POST of a 4 kB envelope, beside the same POST under format
none.
"""
import argparse
import os
import socket
import statistics
import subprocess
import tempfile

import harness

ID = "4C1B2A7D9E0F34567890ABCDEF123456"
ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="http://www.w3.org/2005/08/addressing">'
    "<s:Header><w:To>http://shop.example.com/services/Cart</w:To><w:Action>urn:add</w:Action><w:MessageID>urn:uuid:9438f780</w:MessageID>"
    '<a:ServiceGroupId xmlns:a="http://ws.apache.org/namespaces/axis2">' + ID + "</a:ServiceGroupId></s:Header><s:Body>")
ENVELOPE += "<item><name>kettle</name></item>" * ((4000 - len(ENVELOPE)) // 32) + "</s:Body></s:Envelope>"
COOKIE = "theme=dark; JSESSIONID=%s; lang=en"
# Subject: format, cookie, whether it posts the envelope.
SUBJECTS = {
    "none": ("none", COOKIE % ID, False),
    "id_route": ("id_route", COOKIE % (ID + ".n1"), False),
    "ranked": ("ranked", COOKIE % (ID + ".n1.n2"), False),
    "route_cookie": ("route_cookie", COOKIE % (ID + "; ROUTEID=.n1"), False),
    "sealed": ("sealed", None, False),
    "places": ("places", COOKIE % ID, False),
    "soap-none": ("none", COOKIE % ID, True),
    "soap": ("soap", "", True),
}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def seal_of(port):
    """The cookie that the proxy gives a visitor of its own session."""
    answer = subprocess.run(["curl", "-si", "-H", "Cookie: JSESSIONID=" + ID, "http://127.0.0.1:%d/" % port], capture_output=True, text=True,
                            timeout=10, check=True).stdout
    return answer.split("Set-Cookie: ROOST=")[1].split(";")[0]


def up_to(limit):
    def parse(text):
        if not text.isdigit() or not 1 <= int(text) <= limit:
            raise argparse.ArgumentTypeError("must be 1 to %d, not %s" % (limit, text))
        return int(text)
    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", metavar="PROXY_MAIN", help="bazel-bin/tests/bench/proxy_main, built with --config=opt")
    parser.add_argument("--rounds", type=up_to(100), default=5, metavar="N", help="1 to 100, default 5")
    parser.add_argument("--seconds", type=up_to(60), default=3, metavar="S", help="of each round, 1 to 60, default 3")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roost-affinity.") as work:
        processes = harness.Processes(work)
        try:
            measure(processes, work, given.binary, given.rounds, given.seconds)
        finally:
            processes.stop()


def measure(processes, work, binary, rounds, seconds):
    app, *ports = free_ports(1 + len(SUBJECTS))
    with open(os.path.join(work, "nginx.conf"), "w") as file:
        file.write("daemon off; worker_processes 1; pid %s/pid; error_log %s/error.log; events { worker_connections 1024; }\n"
                   "http { access_log off; client_body_temp_path %s; keepalive_requests 100000000; server { listen 127.0.0.1:%d;\n"
                   "location / { return 200 '%s'; } } }\n" % (work, work, work, app, "x" * 1024))
    processes.start("nginx", ["nginx", "-c", os.path.join(work, "nginx.conf"), "-p", work], cores="1")
    for (name, (form, _, _)), port in zip(SUBJECTS.items(), ports):
        processes.start(name, [binary, "127.0.0.1:%d" % port, "127.0.0.1:%d" % app, "1", ID, form], cores="0")
        processes.wait_http("http://127.0.0.1:%d/" % port)
    per_request = {name: [] for name in SUBJECTS}
    for _ in range(rounds):
        for (name, (form, cookie, posts)), port in zip(SUBJECTS.items(), ports):
            if form == "sealed":
                cookie = COOKIE % (ID + "; ROOST=" + seal_of(port))
            script = os.path.join(work, name + ".lua")
            with open(script, "w") as file:
                file.write("wrk.headers['Cookie'] = '%s'\n" % cookie if cookie else "")
                if posts:
                    file.write("wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'text/xml'\nwrk.body = [[%s]]\n" % ENVELOPE)
                file.write("done = function(s) io.write(s.requests .. ' ' .. s.errors.status .. '\\n') end\n")
            before = processes.cpu_seconds([name])
            out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", "-c32", "-d%ds" % seconds, "-s", script, "http://127.0.0.1:%d/" % port],
                                 capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
            requests, errors = map(int, out.split()[-2:])
            if errors or not requests:
                raise harness.BenchError("%s: %d of %d requests failed" % (name, errors, requests))
            per_request[name].append((processes.cpu_seconds([name]) - before) / requests * 1e6)
    print("%-14s %12s %10s" % ("format", "us/request", "to none"))
    for name, costs in per_request.items():
        base = per_request["soap-none" if name.startswith("soap") else "none"]
        ratio = statistics.median(cost / other for cost, other in zip(costs, base))
        print("%-14s %12.2f %10.3f" % (name, statistics.median(costs), ratio))


if __name__ == "__main__":
    main()
