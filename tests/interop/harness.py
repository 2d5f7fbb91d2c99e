"""What the interop cases share: processes, ports, three Roost nodes, balancers, visitors.

Everything listens on loopback with ports of its own; what is started is ended by its id.
"""

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

NODES = 3
START_SECONDS = 60


class Skip(Exception):
    """The case can't run here; why."""


class Failure(Exception):
    """Something did not start, or did not do what the case is about."""


def free_ports(count):
    """Ports that nobody has now; all differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def wait_for(condition, what, seconds=START_SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


def listens(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def get_status(port, path):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


class Processes:
    """Children of this run; all are ended at its end."""

    def __init__(self, work):
        self.work = work
        self.children = []

    def start(self, name, command, **options):
        log = open(os.path.join(self.work, name + ".log"), "ab")
        # Some leave files wherever they are.
        with log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work, start_new_session=True,
                                     **options)
        self.children.append(child)
        return child

    def kill(self, child):
        """At once, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self.children.remove(child)

    def stop_all(self):
        for child in list(self.children):
            self.kill(child)


def need_program(name, package):
    """Its path; installs Debian's `package` if it is missing and this is root."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        need_packages(package)
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        raise Skip(f"no {name} (Debian package {package})")
    return path


def need_packages(*packages):
    if os.environ.get("ROOST_INTEROP_INSTALL") == "no":
        raise Skip(f"needs Debian's {' '.join(packages)}, and may not install them")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Skip(f"needs Debian's {' '.join(packages)}, which only root can install")
    done = subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=600, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    if done.returncode != 0:
        raise Skip(f"apt-get could not install {' '.join(packages)}")


def need_npm(*packages):
    """A folder with these npm packages in node_modules."""
    need_program("node", "nodejs")
    npm = need_program("npm", "npm")
    home = os.path.join(os.environ["ROOST_INTEROP_HOME"], "npm")
    os.makedirs(home, exist_ok=True)
    names = [p[: p.rindex("@")] for p in packages]
    if not all(os.path.isdir(os.path.join(home, "node_modules", n)) for n in names):
        done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--prefix", home, *packages], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=600, cwd=home)
        if done.returncode != 0:
            raise Skip(f"npm could not install {' '.join(packages)}")
    return home


def need_maven(name, *artifacts):
    """A folder with these Maven artifacts ("group:artifact:version[:type]") and what they need."""
    need_program("javac", "default-jdk-headless")
    maven = need_program("mvn", "maven")
    home = os.path.join(os.environ["ROOST_INTEROP_HOME"], "maven", name)
    jars = os.path.join(home, "jars")
    os.makedirs(home, exist_ok=True)
    wanted = "\n".join(artifacts)
    done_file = os.path.join(home, "done")
    if os.path.exists(done_file) and open(done_file, encoding="utf-8").read() == wanted:
        return jars
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version><type>{}</type></dependency>".format(
            *(artifact.split(":") + ["jar"])[:4]) for artifact in artifacts)
    with open(os.path.join(home, "pom.xml"), "w", encoding="utf-8") as file:
        file.write('<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>interop</groupId>'
                   f"<artifactId>{name}</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>")
    done = subprocess.run([maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=600, cwd=home, check=False)
    if done.returncode != 0:
        raise Skip(f"Maven could not fetch {' '.join(artifacts)}")
    with open(done_file, "w", encoding="utf-8") as file:
        file.write(wanted)
    return jars


def compile_java(work, classpath, *sources):
    """Where the classes are."""
    classes = os.path.join(work, "classes")
    os.makedirs(classes, exist_ok=True)
    done = subprocess.run(["javac", "-nowarn", "-d", classes, "-cp", classpath, *sources], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise Failure(f"javac: {done.stderr.strip()[-300:]}")
    return classes


class Roost:
    """Three nodes, each before one of the applications."""

    def __init__(self, processes, roostd, apps, settings):
        self.processes = processes
        count = len(apps)
        ports = free_ports(5 * count)
        self.proxies, forwards, apis, self.admins, gossips = (ports[i * count : (i + 1) * count] for i in range(5))
        self.children = []
        for i in range(count):
            data = os.path.join(processes.work, f"data-{i}")
            config = os.path.join(processes.work, f"n{i + 1}.yaml")
            seeds = ", ".join(f'"127.0.0.1:{p}"' for p in gossips)
            with open(config, "w", encoding="utf-8") as file:
                file.write(
                    f"node: {{name: n{i + 1}, data_dir: {data}}}\n"
                    f'cluster: {{listen: "127.0.0.1:{gossips[i]}", forward_listen: "127.0.0.1:{forwards[i]}", seeds: [{seeds}], expect: {count}}}\n'
                    "membership: {preset: local}\n"
                    f'api: {{listen: "127.0.0.1:{apis[i]}", socket: ""}}\n'
                    f'admin: {{listen: "127.0.0.1:{self.admins[i]}"}}\n'
                    f'proxy: {{listen: "127.0.0.1:{self.proxies[i]}", app: "127.0.0.1:{apps[i]}"}}\n' + settings + "\n")
            self.children.append(processes.start(f"n{i + 1}", [roostd, "--config", config]))
        for port in self.admins:
            wait_for(lambda p=port: get_status(p, "/readyz") == 200, "a Roost node's readiness")

    def kill(self, i):
        self.processes.kill(self.children[i])

    def metric(self, sample, nodes=None):
        """The sum over the nodes (by default all that answer) of a sample, e.g. 'roost_members{state="dead"}'."""
        total = 0
        for i in range(len(self.admins)) if nodes is None else nodes:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.admins[i]}/metrics", timeout=5) as page:
                for line in page.read().decode().splitlines():
                    if line.startswith(sample + " "):
                        total += int(float(line.rsplit(" ", 1)[1]))
        return total

    def forwarded(self):
        return self.metric('roost_proxy_routed_total{route="forward"}')


def tcp_balancer(processes, name, targets):
    """HAProxy in TCP mode: each connection to any of the targets that listens. Its port."""
    haproxy = need_program("haproxy", "haproxy")
    (port,) = free_ports(1)
    config = os.path.join(processes.work, name + ".cfg")
    with open(config, "w", encoding="utf-8") as file:
        file.write("global\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
                   f"listen all\n  bind 127.0.0.1:{port}\n  balance random(1)\n  option redispatch\n")
        for i, target in enumerate(targets):
            file.write(f"  server s{i} 127.0.0.1:{target} check inter 200ms fall 2 rise 1\n")
    processes.start(name, [haproxy, "-db", "-f", config])
    wait_for(lambda: listens(port), "HAProxy's start")
    return port


class Visitor:
    """A browser's cookies, and a new connection for every request."""

    def __init__(self, port):
        self.port = port
        self.jar = {}  # (path, name): value
        self.location = ""
        self.node = ""  # That answered last, if it says so.

    @property
    def cookies(self):
        return {name: value for (_, name), value in self.jar.items()}

    def get(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            fields = dict(headers or {})
            # The longest path first (RFC 6265 section 5.4).
            cookies = sorted((item for item in self.jar.items() if path.startswith(item[0][0])), key=lambda item: -len(item[0][0]))
            if cookies:
                fields["Cookie"] = "; ".join(f"{name}={value}" for (_, name), value in cookies)
            connection.request(method, path, body=body, headers=fields)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            self.location = response.getheader("Location", "")
            self.node = response.getheader("X-Node", "")
            for field in response.headers.get_all("Set-Cookie") or []:
                name, _, value = field.split(";")[0].partition("=")
                at = re.search(r";\s*path=([^;]+)", field, re.IGNORECASE)
                self.jar[(at.group(1).strip() if at else "/", name.strip())] = value.strip()
            return response.status, text
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


def count_lost(port, visitors=30, requests=10, path_of=lambda turn: "/", apps=("",)):
    """Visitors of an application that answers with how often it has seen them in this session: (lost, all).

    A request is lost if the answer is not one more than the last: the session was not found where the request went. With several
    `apps`, the paths of applications that count for themselves, each visitor uses all of them by turns.
    """
    people = [Visitor(port) for _ in range(visitors)]
    seen = {}
    lost = total = 0
    for turn in range(requests):
        for i in random.sample(range(visitors), visitors):
            app = apps[turn % len(apps)]
            _, text = people[i].get(app + path_of(turn))
            count = int(text) if text.strip().isdigit() else 0
            total += 1
            if count != seen.get((i, app), 0) + 1:
                lost += 1
            seen[i, app] = count
    return lost, total
