"""A node and its application are killed (SIGKILL) while visitors of three nodes are at work: when is each of the dead node's visitors
served again, and which requests fail?

Applications answer after a while, so that some requests are in flight at any moment. A visitor's every request lands on a random node
that is alive, as behind a balancer that knows. Requests are GETs and, every fourth, POSTs with a body, each sent once: whatever is
tried again is tried by Roost.
"""
import asyncio
import collections
import random
import statistics
import time

from harness import percentile
from proxy_subjects import Stage

NODES = ("n1", "n2", "n3")
VICTIM = "n3"
VISITORS_PER_NODE = 60
ANSWER_S = 0.02
THINK_S = 0.06
BEFORE_S = 2.0
AFTER_S = 4.0
GIVE_UP_S = 10.0
BODY = b"x" * 200


class Application:
    """Answers 200 to everything, with its name, after ANSWER_S. /login sets the cookie."""

    def __init__(self, name):
        self.port = None
        self._name = name
        self._server = None
        self._open = set()
        self._made = 0

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def die(self):
        """As a killed process: connections are reset, new ones refused."""
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                await reader.readexactly(int(fields.get(b"content-length", 0)))
                await asyncio.sleep(ANSWER_S)
                cookie = b""
                if head.startswith(b"GET /login "):
                    self._made += 1
                    cookie = b"Set-Cookie: JSESSIONID=%s-%08d-%08x; Path=/\r\n" % (
                        self._name.encode(), self._made, random.getrandbits(32))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (
                    len(self._name), cookie, self._name.encode()))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The other side is gone, or the bench ends.
        finally:
            self._open.discard(writer)
            writer.close()


class Visitor:
    def __init__(self, owner, scene):
        self.owner = owner
        self.answers = []  # (when the request began, when it was answered with 200).
        self._scene = scene
        self._cookie = b""

    async def log_in(self):
        status, head = await request(self._scene.ports[self.owner], b"GET /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        if status != 200 or b"JSESSIONID=" not in head:
            raise OSError("no session from %s: %d" % (self.owner, status))
        self._cookie = head.partition(b"JSESSIONID=")[2].partition(b";")[0]

    async def visit(self):
        scene = self._scene
        count = random.randrange(4)
        await asyncio.sleep(random.random() * THINK_S)
        while time.monotonic() < scene.end:
            count += 1
            method = b"POST" if count % 4 == 0 else b"GET"
            body = BODY if method == b"POST" else b""
            length = b"Content-Length: %d\r\n" % len(body) if body else b""
            began = time.monotonic()
            try:
                status, _ = await asyncio.wait_for(request(
                    scene.ports[random.choice(scene.landing)],
                    b"%s /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: JSESSIONID=%s\r\n%s\r\n%s" % (
                        method, self._cookie, length, body)), GIVE_UP_S)
                reason = str(status)
            except (OSError, asyncio.IncompleteReadError):
                status, reason = 0, "closed"
            except asyncio.TimeoutError:
                status, reason = 0, "no answer in %d s" % GIVE_UP_S
            ended = time.monotonic()
            if status == 200:
                self.answers.append((began, ended))
            else:
                scene.failed.append((method.decode(), reason, began, ended))
            scene.requests += 1
            await asyncio.sleep(THINK_S * (0.5 + random.random()))


async def request(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await reader.readexactly(length)
        return int(head.split(b" ", 2)[1]), head
    finally:
        writer.close()


class Scene:
    def __init__(self, stage):
        self.ports = {name: stage.port(name) for name in NODES}
        self.landing = [name for name in NODES if name != VICTIM]
        self.end = 0
        self.failed = []
        self.requests = 0


async def play(stage):
    applications = [Application(name) for name in NODES]
    for application in applications:
        await application.start()
    loop = asyncio.get_running_loop()
    # In a thread: it waits for what the applications' own loop need not answer, but must be free to.
    await loop.run_in_executor(None, lambda: stage.start_roosts(list(NODES), app=[a.port for a in applications], cores=None))
    scene = Scene(stage)
    visitors = [Visitor(name, scene) for name in NODES for _ in range(VISITORS_PER_NODE)]
    for visitor in visitors:
        await visitor.log_in()
    scene.end = time.monotonic() + BEFORE_S + AFTER_S
    tasks = [asyncio.create_task(visitor.visit()) for visitor in visitors]
    await asyncio.sleep(BEFORE_S)
    stage.processes.kill(VICTIM)
    killed = time.monotonic()
    applications[NODES.index(VICTIM)].die()
    await asyncio.gather(*tasks)
    good = []
    for visitor in visitors:
        if visitor.owner == VICTIM:
            good += [ended - killed for _, ended in visitor.answers if ended > killed][:1] or [float("inf")]
    failed = collections.Counter()
    for method, reason, began, ended in scene.failed:
        moment = "in flight" if began < killed < ended else "after" if began >= killed else "before"
        failed["%s %s: %s" % (method, moment, reason)] += 1
    return {"good_ms": [seconds * 1000 for seconds in good], "failed": dict(failed), "requests": scene.requests}


def measure(directory, roostd):
    stage = Stage(directory, roostd)
    try:
        return asyncio.run(play(stage))
    finally:
        stage.stop()


def summarize(runs):
    times = [ms for run in runs for ms in run["good_ms"]]
    failed = collections.Counter()
    for run in runs:
        failed.update(run["failed"])
    return {
        "visitors": len(times), "requests": sum(run["requests"] for run in runs), "rounds": len(runs),
        "first_good_ms": {"p50": round(statistics.median(times), 1), "p99": round(percentile(times, 0.99), 1),
                          "max": round(max(times), 1)},
        "failed": dict(failed),
        "failed_others": sum(count for kind, count in failed.items() if not kind.startswith("POST in flight")),
    }
