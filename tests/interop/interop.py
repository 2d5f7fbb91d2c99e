"""The cases of tests/interop/run.sh; see its --help."""

import argparse
import glob
import html
import os
import re
import shutil
import subprocess
import sys
import urllib.parse

import harness
from harness import NODES, Failure, Roost, Skip, count_lost, free_ports, listens, need_maven, need_npm, need_program, tcp_balancer, wait_for

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
CASES = {}


def case(quick=False):
    def register(run):
        run.quick = quick
        CASES[run.__name__] = run
        return run

    return register


class Run:
    """One case's: its folder and its processes."""

    def __init__(self, roostd, work):
        self.roostd = roostd
        self.processes = harness.Processes(work)
        self.work = work

    def start_apps(self, command, **options):
        """One instance per node; `command(i, port)`. Their ports."""
        ports = free_ports(NODES)
        for i, port in enumerate(ports):
            self.processes.start(f"app{i + 1}", command(i, port), **options)
        for port in ports:
            wait_for(lambda p=port: listens(p), "an application's start")
        return ports

    def with_and_without(self, start, settings, drive):
        """Drives visitors through Roost, and the same straight to the applications, each time to new instances: the verdict."""
        results = []
        for name in ("control", "roost"):
            apps = start()
            targets = apps if name == "control" else Roost(self.processes, self.roostd, apps, settings).proxies
            results.append(drive(tcp_balancer(self.processes, "balancer-" + name, targets)))
            self.processes.stop_all()
        (control_lost, control_all), (lost, all_) = results
        good = lost == 0 and control_lost > 0
        return good, f"{lost} of {all_} lost", f"{control_lost} of {control_all} lost"


@case(quick=True)
def express(run):
    """Express with express-session's in-memory store: cookie signed, id renamed at login."""
    home = need_npm("express@4", "express-session@1")
    environment = dict(os.environ, NODE_PATH=os.path.join(home, "node_modules"))
    return run.with_and_without(
        lambda: run.start_apps(lambda i, port: ["node", os.path.join(APPS, "express.js"), str(port)], env=environment),
        "affinity: {preset: express}", counter_with_login)


@case(quick=True)
def php(run):
    """PHP's built-in sessions, in files of each instance."""
    program = need_program("php", "php-cli")

    def command(i, port):
        sessions = os.path.join(run.work, f"php-{i}")
        os.makedirs(sessions, exist_ok=True)
        return [program, "-d", f"session.save_path={sessions}", "-S", f"127.0.0.1:{port}", os.path.join(APPS, "counter.php")]

    return run.with_and_without(lambda: run.start_apps(command), "affinity: {preset: php}", counter_with_login)


@case()
def django(run):
    """Django's sessions in each process's memory; the id changes at login."""
    python = "/usr/bin/python3"  # Debian's, which has Debian's Django.
    if subprocess.run([python, "-c", "import django"], capture_output=True, check=False).returncode != 0:
        harness.need_packages("python3-django")
    return run.with_and_without(
        lambda: run.start_apps(lambda i, port: [python, os.path.join(APPS, "django_counter.py"), str(port)]),
        "affinity: {preset: django}", counter_with_login)


@case()
def mcp(run):
    """A stateful MCP server over streamable HTTP, and the SDK's own client."""
    home = need_npm("express@4", "@modelcontextprotocol/sdk@1")
    folder = copy_beside(home, "mcp_server.mjs", "mcp_client.mjs")
    return run.with_and_without(
        lambda: run.start_apps(lambda i, port: ["node", os.path.join(folder, "mcp_server.mjs"), str(port)]),
        "affinity: {preset: mcp}", lambda port: node_client(os.path.join(folder, "mcp_client.mjs"), port, 20, 8))


TOMCAT_HOME = "/usr/share/tomcat10"


class Tomcats:
    """One Tomcat 10 per node, each with the servlet Counter."""

    def __init__(self, run, with_routes=True, jars=None, servlet=None, folder="tomcat", files=None, ready="/", apps=("",)):
        if not os.path.exists(os.path.join(TOMCAT_HOME, "lib", "catalina.jar")):
            harness.need_packages("tomcat10-common")
        need_program("javac", "default-jdk-headless")
        self.run = run
        self.with_routes = with_routes
        self.files = files or {}  # Place in WEB-INF: what to copy there.
        self.ready = ready
        self.apps = apps  # Paths of the same application, which are sessions of their own.
        self.servlet = servlet or "<servlet><servlet-name>c</servlet-name><servlet-class>Counter</servlet-class></servlet>" \
            "<servlet-mapping><servlet-name>c</servlet-name><url-pattern>/*</url-pattern></servlet-mapping>"
        self.jars = glob.glob(os.path.join(jars, "*.jar")) if jars else []
        classpath = ":".join([os.path.join(TOMCAT_HOME, "lib", "servlet-api.jar"), *self.jars])
        self.classes = harness.compile_java(run.work, classpath, *glob.glob(os.path.join(APPS, folder, "*.java")))
        for page in glob.glob(os.path.join(APPS, folder, "*.html")):
            shutil.copy(page, self.classes)
        self.children = []

    def start(self):
        ports = free_ports(NODES)
        self.children = [self.start_one(i, port) for i, port in enumerate(ports)]
        for port in ports:
            for app in self.apps:
                wait_for(lambda p=port, path=app + self.ready: harness.get_status(p, path) in (200, 302), "Tomcat's start")
        return ports

    def start_one(self, i, port):
        base = os.path.join(self.run.work, f"tomcat-{port}")
        for folder in ("conf", "logs", "temp", "work"):
            os.makedirs(os.path.join(base, folder))
        for path in self.apps:
            self.deploy(os.path.join(base, "webapps", path.strip("/") or "ROOT", "WEB-INF"))
        route = f' jvmRoute="n{i + 1}"' if self.with_routes else ""
        write(os.path.join(base, "conf", "server.xml"),
              f'<Server port="-1"><Service name="c"><Connector port="{port}" address="127.0.0.1" maxThreads="20"/>'
              f'<Engine name="c" defaultHost="localhost"{route}><Host name="localhost" appBase="webapps" autoDeploy="false"/></Engine>'
              "</Service></Server>")
        environment = dict(os.environ, CATALINA_HOME=TOMCAT_HOME, CATALINA_BASE=base, CATALINA_OUT=os.path.join(base, "out"),
                           JAVA_OPTS=f"-Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dinterop.node=n{i + 1} "
                                     "-Djava.security.egd=file:/dev/urandom")
        environment.setdefault("JAVA_HOME", os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("java")))))
        return self.run.processes.start(f"tomcat{i + 1}", [os.path.join(TOMCAT_HOME, "bin", "catalina.sh"), "run"], env=environment)

    def deploy(self, app):
        shutil.copytree(self.classes, os.path.join(app, "classes"))
        os.makedirs(os.path.join(app, "lib"))
        for jar in self.jars:
            shutil.copy(jar, os.path.join(app, "lib"))
        for place, source in self.files.items():
            os.makedirs(os.path.dirname(os.path.join(app, place)), exist_ok=True)
            shutil.copy(source, os.path.join(app, place))
        write(os.path.join(app, "web.xml"),
              f'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0">{self.servlet}</web-app>')


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def httpd(run, targets, sticky):
    """Apache httpd with mod_proxy_balancer; its port. `sticky`: what comes into ProxySet."""
    program = need_program("apache2", "apache2-bin")
    modules = "/usr/lib/apache2/modules"
    (port,) = free_ports(1)
    root = os.path.join(run.work, f"httpd-{port}")
    os.makedirs(root)
    names = {"mpm_event": "mpm_event", "authz_core": "authz_core", "headers": "headers", "proxy": "proxy", "proxy_http": "proxy_http",
             "proxy_balancer": "proxy_balancer", "lbmethod_byrequests": "lbmethod_byrequests", "slotmem_shm": "slotmem_shm"}
    lines = [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names]
    lines += [f"ServerRoot {root}", f"PidFile {root}/pid", f"DefaultRuntimeDir {root}", "ServerName localhost", f"Listen 127.0.0.1:{port}",
              f"ErrorLog {root}/error.log", "ProxyTimeout 30", "<Proxy balancer://all>"]
    lines += [f"BalancerMember http://127.0.0.1:{target} route=n{i + 1} retry=1" for i, target in enumerate(targets)]
    lines += [f"ProxySet {sticky}"] if sticky else []
    lines += ["</Proxy>", "ProxyPass / balancer://all/"]
    write(os.path.join(root, "httpd.conf"), "\n".join(lines) + "\n")
    run.processes.start("httpd", [program, "-f", os.path.join(root, "httpd.conf"), "-DFOREGROUND"])
    wait_for(lambda: listens(port), "httpd's start")
    return port


def httpd_case(run, tomcats, settings, sticky, drive=None):
    """httpd follows the routes that Roost reads, or writes; the control: httpd without stickiness, no Roost."""
    drive = drive or counter_with_login
    control_lost, control_all = drive(httpd(run, tomcats.start(), ""))
    run.processes.stop_all()
    roost = Roost(run.processes, run.roostd, tomcats.start(), settings)
    lost, total = drive(httpd(run, roost.proxies, sticky))
    forwarded = roost.forwarded()
    # Once the visitor has a route, httpd sends him to the right node by itself.
    good = lost == 0 and control_lost > 0 and forwarded <= total // 20
    return good, f"{lost} of {total} lost, {forwarded} forwarded between nodes", f"{control_lost} of {control_all} lost"


@case()
def tomcat_httpd_method1(run):
    """Apache httpd, stickysession=JSESSIONID, Tomcat 10 with a jvmRoute."""
    return httpd_case(run, Tomcats(run), "affinity: {preset: tomcat}", "stickysession=JSESSIONID")


@case()
def tomcat_httpd_method2(run):
    """Apache httpd, stickysession=ROUTEID, Tomcat 10 without a jvmRoute; Roost writes the ROUTEID."""
    return httpd_case(run, Tomcats(run, with_routes=False), "affinity: {preset: tomcat, format: route_cookie}", "stickysession=ROUTEID")


@case()
def ofbiz_shape(run):
    """OFBiz's shape behind mod_proxy_balancer: one Tomcat with a jvmRoute, several web applications in it, each with a JSESSIONID of its
    own at its own path, and cookies of both kinds of path in one request. (OFBiz itself is in no package registry.)"""
    apps = ("/webtools", "/catalog", "")
    return httpd_case(run, Tomcats(run, apps=apps), "affinity: {preset: ofbiz}", "stickysession=JSESSIONID|jsessionid",
                      drive=lambda port: count_lost(port, requests=12, apps=apps))


@case()
def tomcat_haproxy_tcp(run):
    """HAProxy in TCP mode in httpd's place."""
    tomcats = Tomcats(run)
    return run.with_and_without(tomcats.start, "affinity: {preset: tomcat}", counter_with_login)


def watch_death(port, kill):
    """Visitors of counters, `kill` in their midst: how many were at n1, their lost requests, and those of the others."""
    people = [harness.Visitor(port) for _ in range(30)]
    seen = [0] * len(people)
    lost = {True: 0, False: 0}
    victims = [False] * len(people)
    for turn in range(12):
        if turn == 4:
            victims = [person.node == "n1" for person in people]
            kill()
        for i, person in enumerate(people):
            _, text = person.get("/")
            count = int(text) if text.strip().isdigit() else 0
            lost[victims[i]] += count != seen[i] + 1
            seen[i] = count
    return sum(victims), lost[True], lost[False]


def death_case(run, start, children, settings, with_roost):
    """The others' visitors notice nothing, those of the dead begin anew once, each at one other node. Control: the application's death."""
    apps = start()
    _, _, control = watch_death(tcp_balancer(run.processes, "balancer-control", apps), lambda: run.processes.kill(children()[0]))
    run.processes.stop_all()
    roost = Roost(run.processes, run.roostd, start(), settings)

    def kill():
        if with_roost:
            roost.kill(0)
        run.processes.kill(children()[0])

    victims, begun_anew, lost = watch_death(tcp_balancer(run.processes, "balancer-roost", roost.proxies), kill)
    good = lost == 0 and 0 < victims and begun_anew == victims and control > 0
    return good, f"{lost} lost by visitors of the living, {begun_anew} anew by {victims} of the killed", f"{control} lost"


@case()
def tomcat_killed(run):
    """A Tomcat is killed, its Roost lives."""
    tomcats = Tomcats(run)
    return death_case(run, tomcats.start, lambda: tomcats.children, "affinity: {preset: tomcat}", with_roost=False)


@case()
def express_node_killed(run):
    """An application and its Roost are killed."""
    home = need_npm("express@4", "express-session@1")
    environment = dict(os.environ, NODE_PATH=os.path.join(home, "node_modules"))
    children = []

    def start():
        ports = run.start_apps(lambda i, port: ["node", os.path.join(APPS, "express.js"), str(port), f"n{i + 1}"], env=environment)
        children[:] = run.processes.children[-NODES:]
        return ports

    return death_case(run, start, lambda: children, "affinity: {preset: express}", with_roost=True)


WICKET_FILTER = (
    "<filter><filter-name>w</filter-name><filter-class>org.apache.wicket.protocol.http.WicketFilter</filter-class><init-param>"
    "<param-name>applicationClassName</param-name><param-value>CounterApplication</param-value></init-param></filter>"
    "<filter-mapping><filter-name>w</filter-name><url-pattern>/*</url-pattern></filter-mapping>"
    "<servlet><servlet-name>d</servlet-name><servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>"
    "<servlet-mapping><servlet-name>d</servlet-name><url-pattern>/</url-pattern></servlet-mapping>")


class WicketVisitor:
    """A browser on Wicket's stateful page; `count` is what the page showed last."""

    def __init__(self, port):
        self.visitor = harness.Visitor(port)
        self.url, self.page, self.count = "/", "", -1

    def load(self, url, method="GET", headers=None):
        """Follows redirections; false if it does not end at a page with a counter."""
        body = "" if method == "POST" else None
        fields = dict(headers or {})
        if method == "POST":
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        for _ in range(5):
            status, text = self.visitor.get(url, headers=fields, method=method, body=body)
            if status not in (302, 303):
                break
            url, method, body = urllib.parse.urljoin(url, self.visitor.location), "GET", None
            url = urllib.parse.urlunsplit(("", "", *urllib.parse.urlsplit(url)[2:]))
        found = re.search(r"count=(\d+)\.", text)
        if status != 200 or found is None:
            return False
        self.count = int(found.group(1))
        if headers is None:
            self.url, self.page = url, text
        return True

    def act(self, pattern, expected, method="GET", headers=None):
        """Uses the first URL in the page that matches; whether the counter then shows what is expected."""
        found = re.search(pattern, self.page)
        if found is None:
            return False
        return self.load(urllib.parse.urljoin(self.url, html.unescape(found.group(1))), method, headers) and self.count == expected


@case()
def wicket(run):
    """Apache Wicket's stateful pages on Tomcat: links, forms, Ajax, the back button; never a page that has expired."""
    jars = need_maven("wicket", "org.apache.wicket:wicket-core:10.4.0", "org.slf4j:slf4j-nop:2.0.16")
    tomcats = Tomcats(run, jars=jars, servlet=WICKET_FILTER, folder="wicket")

    def drive(port):
        lost = total = 0
        for _ in range(15):
            person = WicketVisitor(port)
            good = [person.load("/")]
            for _ in range(3):
                old = (person.url, person.page, person.count)
                ajax = {"Wicket-Ajax": "true", "Wicket-Ajax-BaseURL": person.url.lstrip("/"), "X-Requested-With": "XMLHttpRequest"}
                good.append(person.act(r'href="([^"]*-plus[^"]*)"', person.count + 1))
                good.append(person.act(r'action="([^"]*-form[^"]*)"', person.count + 1, method="POST"))
                good.append(person.act(r'"u":"([^"]*-ajax[^"]*)"', person.count + 1, headers=ajax))
                # Back to the page before all this, whose state Wicket has kept.
                person.url, person.page, count = old
                good.append(person.act(r'href="([^"]*-plus[^"]*)"', count + 1))
            total += len(good)
            lost += good.count(False)
        return lost, total

    return run.with_and_without(tomcats.start, "affinity: {preset: wicket}", drive)


@case()
def undertow_ranked(run):
    """Undertow's balancer with ranked affinity; Roost and application of one node die, the next route is the node that took over."""
    jars = need_maven("undertow", "io.undertow:undertow-core:2.3.18.Final")
    classpath = os.path.join(jars, "*")
    classes = harness.compile_java(run.work, classpath, *glob.glob(os.path.join(APPS, "undertow", "*.java")))
    java = ["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{classpath}"]

    def start():
        ports = free_ports(NODES)
        children = [run.processes.start(f"app{i + 1}", [*java, "UndertowCounter", str(port), f"n{i + 1}"]) for i, port in enumerate(ports)]
        for port in ports:
            wait_for(lambda p=port: listens(p), "Undertow's start")
        return ports, children

    def balancer(targets):
        (port,) = free_ports(1)
        run.processes.start("balancer", [*java, "UndertowBalancer", str(port), *(f"n{i + 1}={t}" for i, t in enumerate(targets))])
        wait_for(lambda: listens(port), "the balancer's start")
        return port

    control_lost, control_all = count_lost(balancer(start()[0]))
    run.processes.stop_all()
    ports, children = start()
    roost = Roost(run.processes, run.roostd, ports, "affinity: {preset: wildfly}")
    port = balancer(roost.proxies)
    lost, total = count_lost(port)
    forwarded = roost.forwarded()
    people = [harness.Visitor(port) for _ in range(30)]
    for person in people:
        person.get("/")
    routes = [person.cookies["JSESSIONID"].split(".")[1:] for person in people]
    roost.kill(0)
    run.processes.kill(children[0])
    wait_for(lambda: roost.metric('roost_members{state="dead"}', [1, 2]) == 2, "the death's discovery", 20)
    followed = orphans = 0
    for person, route in zip(people, routes):
        if route[0] != "n1":
            continue
        orphans += 1
        person.get("/")
        followed += person.node == route[1]
    good = lost == 0 and control_lost > 0 and 0 < orphans == followed and forwarded <= total // 20
    return (good, f"{lost} of {total} lost, {forwarded} forwarded; {followed} of {orphans} orphans at the next route's node",
            f"{control_lost} of {control_all} lost")


AXIS2_SERVLET = (
    "<servlet><servlet-name>a</servlet-name><servlet-class>org.apache.axis2.transport.http.AxisServlet</servlet-class></servlet>"
    "<servlet-mapping><servlet-name>a</servlet-name><url-pattern>/services/*</url-pattern></servlet-mapping>")
SOAP_REQUEST = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="http://www.w3.org/2005/08/addressing"><s:Header>'
    "<w:To>http://localhost/services/Counter</w:To><w:Action>urn:count</w:Action><w:MessageID>urn:uuid:{message}</w:MessageID>"
    "<w:ReplyTo><w:Address>http://www.w3.org/2005/08/addressing/anonymous</w:Address></w:ReplyTo>{group}</s:Header>"
    '<s:Body><c:count xmlns:c="urn:counter"/></s:Body></s:Envelope>')
GROUP_ID = re.compile(r"<axis2:ServiceGroupId[^>]*>[^<]*</axis2:ServiceGroupId>")


@case()
def axis2(run):
    """Axis2 (WSO2's engine) with scope soapsession: the session is named in the SOAP header only, no cookies."""
    jars = need_maven("axis2", "org.apache.axis2:axis2-transport-http:2.0.0", "org.apache.axis2:axis2-transport-local:2.0.0",
                      "org.apache.axis2:axis2-adb:2.0.0", "org.apache.axis2:addressing:1.8.2:mar")
    folder = os.path.join(APPS, "axis2")
    tomcats = Tomcats(run, with_routes=False, jars=jars, servlet=AXIS2_SERVLET, folder="axis2", ready="/services/Counter?wsdl",
                      files={"services/counter/META-INF/services.xml": os.path.join(folder, "services.xml"),
                             "modules/addressing.mar": glob.glob(os.path.join(jars, "addressing*.mar"))[0]})

    def drive(port):
        lost = total = 0
        fields = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"urn:count"'}
        clients = [""] * 20
        for turn in range(8):
            for i, group in enumerate(clients):
                body = SOAP_REQUEST.format(message=f"{turn}-{i}", group=group)
                # A new visitor each time: whatever cookies there are, they are not kept.
                _, text = harness.Visitor(port).get("/services/Counter", headers=fields, method="POST", body=body)
                total += 1
                lost += f"count={turn + 1}." not in text
                found = GROUP_ID.search(text)
                clients[i] = found.group(0) if found else group
        return lost, total

    return run.with_and_without(tomcats.start, "affinity: {preset: wso2}", drive)


@case()
def socketio(run):
    """Socket.IO, long-polling on a connection per request, then half of them a WebSocket."""
    home = need_npm("socket.io@4", "socket.io-client@4")
    environment = dict(os.environ, NODE_PATH=os.path.join(home, "node_modules"))
    return run.with_and_without(
        lambda: run.start_apps(lambda i, port: ["node", os.path.join(APPS, "socketio_server.js"), str(port)], env=environment),
        "affinity: {preset: socketio}",
        lambda port: node_client(os.path.join(APPS, "socketio_client.js"), port, 20, 10, env=environment))


def counter_with_login(port):
    return count_lost(port, path_of=lambda turn: "/login" if turn == 5 else "/")


def node_client(script, port, *arguments, env=None):
    done = subprocess.run(["node", script, str(port), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, env=env, check=False)
    if done.returncode != 0:
        raise Failure(f"{os.path.basename(script)}: {done.stderr.strip()[-300:]}")
    lost, total = done.stdout.split()[-2:]
    return int(lost), int(total)


def copy_beside(home, *scripts):
    """ES modules find packages beside themselves only."""
    for script in scripts:
        shutil.copy(os.path.join(APPS, script), home)
    return home


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--roostd")
    parser.add_argument("--work", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    names = options.names or [name for name, run in CASES.items() if run.quick or not options.quick]
    if options.list:
        print("\n".join(names))
        return 0
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    for name in names:
        work = os.path.join(options.work, name)
        os.makedirs(work)
        run = Run(options.roostd, work)
        try:
            good, figure, control = CASES[name](run)
            verdict, text = ("PASS" if good else "FAIL"), f"{figure} (control: {control})"
        except Skip as reason:
            verdict, text = "SKIP", str(reason)
        except (Failure, subprocess.TimeoutExpired) as reason:
            verdict, text = "FAIL", str(reason)
        finally:
            run.processes.stop_all()
        counts[verdict] += 1
        print(f"{verdict} {name}: {text}", flush=True)
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 0 if counts["FAIL"] == 0 and counts["PASS"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
