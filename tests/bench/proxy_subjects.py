"""The programs that the proxy's benchmark measures, and the application behind them; each pinned to cores."""
import os
import re
import subprocess
import urllib.request

import harness
from harness import BenchError, find

# The first two that we may use: containers are often given others than 0 and 1.
SUBJECT_CORE, LOAD_CORE = [str(core) for core in (sorted(os.sched_getaffinity(0)) * 2)[:2]]
BOTH_CORES = SUBJECT_CORE + "," + LOAD_CORE
REPLY_BYTES = 1024
BODIES = {"100k": 100 << 10, "1m": 1 << 20}

APPLICATION_CONFIG = """
worker_processes 1; daemon off; master_process off; pid {dir}/app.pid; error_log {dir}/app.err warn;
events {{ worker_connections 18000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type text/html;
  sendfile on; client_max_body_size 0; open_file_cache max=10;
{temp_paths}
  upstream thanks {{ server unix:{dir}/thanks.sock; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen unix:{dir}/thanks.sock; return 200 "{reply}"; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "{reply}"; }}
    # Reads the whole body before it answers.
    location /upload {{
      client_body_buffer_size 2m; proxy_pass http://thanks; proxy_http_version 1.1;
      proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
    }}
    location /files/ {{ root {dir}; }}
    location /login {{ add_header Set-Cookie "JSESSIONID=$request_id; Path=/; HttpOnly"; return 200 "hello"; }}
  }}
}}
"""

# Bodies are streamed, as HAProxy and Roost do, and never written to files.
NGINX_CONFIG = """
worker_processes 1; daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.err warn;
events {{ worker_connections 18000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
{temp_paths}
  ssl_certificate {dir}/tls/default.pem; ssl_certificate_key {dir}/tls/default.pem; ssl_protocols TLSv1.2 TLSv1.3;
  upstream app {{ server 127.0.0.1:{app}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls} ssl backlog=4096;
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

# no strict-limits: it wants two descriptors for each of maxconn, though idle ones have but one. tune.pool-*: or it would close
# connections to the application as soon as a quarter of the descriptors is in use.
HAPROXY_CONFIG = """
global
    nbthread 1
    maxconn 18000
    no strict-limits
    tune.pool-low-fd-ratio 90
    tune.pool-high-fd-ratio 95
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend in
    bind 127.0.0.1:{port} backlog 4096
    bind 127.0.0.1:{tls} ssl crt {dir}/tls/default.pem alpn http/1.1 backlog 4096
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend app
backend app
    server app 127.0.0.1:{app}
"""

# One thread, unless a case says otherwise, as HAProxy and nginx have one.
ROOST_CONFIG = """
node:    {{name: {name}, data_dir: {dir}/{name}}}
cluster: {{name: {cluster}, seeds: {seeds}, listen: "127.0.0.1:{peer}", forward_listen: "127.0.0.1:{forward}"}}
proxy:   {{listen: "127.0.0.1:{port}", app: "127.0.0.1:{app}", threads: {threads}, idle_timeout_ms: 10m,
          tls_listen: "127.0.0.1:{tls}", tls_dir: {dir}/tls}}
api:     {{listen: "127.0.0.1:{api}"}}
admin:   {{listen: "127.0.0.1:{admin}"}}
store:   {{copies: {copies}, pending_max: 20000, idle_ttl_ms: 6h}}
"""


class Stage:
    """A folder and the processes in it. Ports by the name of the process: port, and tls where it speaks TLS."""

    def __init__(self, directory, roostd):
        self.processes = harness.Processes(directory)
        self.ports = {}
        self._dir = directory
        self._roostd = roostd
        self._make_files()

    def stop(self):
        self.processes.stop()

    def start_application(self, name="application", cores=LOAD_CORE):
        self._start_nginx(name, cores, APPLICATION_CONFIG, reply="x" * REPLY_BYTES)

    def start_nginx(self):
        self._start_nginx("nginx", SUBJECT_CORE, NGINX_CONFIG, app=self.port("application"))

    def start_haproxy(self):
        ports = self._new_ports("haproxy", "port", "tls")
        config = self._write("haproxy.cfg", HAPROXY_CONFIG.format(dir=self._dir, app=self.port("application"), **ports))
        self.processes.start("haproxy", [find("haproxy", "bench"), "-db", "-f", config], SUBJECT_CORE)
        self._wait("haproxy")

    def start_roosts(self, names, app=None, threads=1, cores=SUBJECT_CORE, copies=1):
        """Nodes of one cluster, ready and aware of each other. `app`: a port, or one for each node."""
        apps = app if isinstance(app, list) else [app or self.port("application")] * len(names)
        for name in names:
            self._new_ports(name, "port", "tls", "peer", "forward", "api", "admin")
        seeds = ["127.0.0.1:%d" % self.ports[name]["peer"] for name in names]
        for name, port in zip(names, apps):
            text = ROOST_CONFIG.format(name=name, dir=self._dir, cluster=names[0], seeds=str(seeds).replace("'", '"'), app=port,
                                       threads=threads, copies=min(copies, len(names) - 1), **self.ports[name])
            self.processes.start(name, [self._roostd, "--config", self._write(name + ".yaml", text)], cores)
        for name in names:
            admin = self.ports[name]["admin"]
            self.processes.wait_http("http://127.0.0.1:%d/readyz" % admin)
            harness.wait_until(lambda at=admin: harness.metric(at, r'roost_members\{state="alive"\}') == len(names),
                               "the nodes find each other", self.processes)

    def port(self, name, kind="port"):
        return self.ports[name][kind]

    def metric(self, name, pattern, default=None):
        return harness.metric(self.ports[name]["admin"], pattern, default)

    def log_in(self, name):
        """A session owned by this node: the application there sets the cookie."""
        with urllib.request.urlopen("http://127.0.0.1:%d/login" % self.port(name), timeout=5) as answer:
            cookie = answer.headers.get("Set-Cookie", "")
        return re.match(r"JSESSIONID=(\w+)", cookie).group(1)

    def check_route(self, name, session, route):
        """The bench means what it says only if this node takes the session's requests this way."""
        pattern = r'roost_proxy_routed_total\{route="%s"\}' % route
        before = self.metric(name, pattern, 0)
        request = urllib.request.Request("http://127.0.0.1:%d/" % self.port(name), headers={"Cookie": "JSESSIONID=" + session})
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()
        if self.metric(name, pattern, 0) != before + 1:
            raise BenchError("a request that %s should route '%s' was not" % (name, route))

    def _start_nginx(self, name, cores, template, **values):
        ports = self._new_ports(name, "port", "tls")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temp_paths = " ".join("%s_temp_path %s/%s-%s;" % (kind, self._dir, name, kind) for kind in kinds)
        path = self._write(name + ".conf", template.format(dir=self._dir, temp_paths=temp_paths, **ports, **values))
        error_log = os.path.join(self._dir, name + ".start.err")
        self.processes.start(name, [find("nginx", "bench"), "-e", error_log, "-c", path], cores)
        self._wait(name)

    def _wait(self, name):
        self.processes.wait_http("http://127.0.0.1:%d/" % self.port(name))

    def _new_ports(self, name, *kinds):
        self.ports[name] = dict(zip(kinds, harness.free_ports(len(kinds))))
        return self.ports[name]

    def _write(self, name, text):
        path = os.path.join(self._dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _make_files(self):
        for folder in ("files", "tls"):
            os.makedirs(os.path.join(self._dir, folder), exist_ok=True)
        for name, size in BODIES.items():
            self._write(os.path.join("files", name), "x" * size)
        key, certificate = (os.path.join(self._dir, name) for name in ("key.pem", "cert.pem"))
        subprocess.run([find("openssl", "bench"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench.example,IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(certificate) as first, open(key) as second:
            pem = self._write(os.path.join("tls", "default.pem"), first.read() + second.read())
        os.chmod(pem, 0o600)


def negotiated(port):
    """(protocol, cipher) of a TLS connection to this port, as the load generator's library negotiates them."""
    done = subprocess.run([find("openssl", "bench"), "s_client", "-connect", "127.0.0.1:%d" % port, "-servername", "bench.example"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"^New, (\S+), Cipher is (\S+)$", done.stdout, re.MULTILINE)
    if not found or found.group(2) == "(NONE)":
        raise BenchError("no TLS on port %d: %s" % (port, done.stdout[-300:]))
    return found.groups()
