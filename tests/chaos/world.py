"""The world a fault strikes: an exchange that writes down what it issues, and a whole mesh that follows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
import xmlrpc.client
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import nats
import psutil
import psycopg
from nats.errors import Error as NatsError
from supervisor.xmlrpc import SupervisorTransport

from mesh.bus import subjects
from mesh.local.programs import MODULES, service_of
from mesh.local.settings import NATS
from mesh.local.state import StateDirectory
from tests.fixtures.mesh import LocalMesh, running_mesh
from tests.fixtures.process import Process
from tests.fixtures.sim import Sim, running_sim

T = TypeVar("T")

SYMBOLS = ("btcusdt", "ethusdt", "solusdt")
PROGRAMS = ("ingest", "signal", "store", "gateway", "nats", "postgres")
_LEADER_ANSWERS_S = 0.25
# One exchange under several names: a host that has refused us stays shut for minutes, as Binance's would.
_REST_NAMES = ("127.0.0.1", "localhost", "127.1", "127.0.1")


class NotYet(Exception):
    """What was waited for did not come in time; the message says what is seen instead."""


@dataclass(frozen=True, slots=True)
class World:
    """The exchange and the mesh, and what can be done to both."""

    sim: Sim
    mesh: LocalMesh
    directory: Path
    at_the_end: contextlib.ExitStack
    """Of whatever a fault has added to the mesh."""

    @property
    def log(self) -> Path:
        """What the exchange issued."""
        return self.directory / "issued.csv"

    # The exchange

    def feed(self, rate: float) -> None:
        """Let the exchange issue so many trades a second from now on."""
        self.sim.post("/sim/rate", {"rate": rate})

    def misbehave(self, *faults: Mapping[str, object]) -> None:
        """Order faults of the exchange, from now on."""
        self.sim.post("/sim/faults", list(faults))

    def behave(self) -> None:
        """End the exchange's faults."""
        httpx.delete(self.sim.rest + "/sim/faults").raise_for_status()

    # The mesh's processes

    def process(self, name: str) -> psutil.Process:
        """Return the running process of a program, waiting for one that is being started again."""

        def find() -> psutil.Process | None:
            record = StateDirectory(self.mesh.state_dir).read()
            pid = record.processes.get(name) if record else None
            return pid.process() if pid else None

        return until(find, timeout_s=30, what=f"a process of {name}")

    def kill(self, *names: str) -> None:
        """Kill programs as a crash would, all at once."""
        for process in [self.process(name) for name in names]:
            process.send_signal(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a program stand still while inside: its sockets stay open and nobody answers."""
        process = self.process(name)
        everyone = [process, *process.children(recursive=True)]
        try:
            for one in everyone:
                one.send_signal(signal.SIGSTOP)
            yield
        finally:
            for one in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Keep a program from running while inside."""
        self._supervisor("stopProcess", name)
        try:
            yield
        finally:
            self._supervisor("startProcess", name, False)

    @contextlib.contextmanager
    def another(self, name: str, **settings: str) -> Iterator[Process]:
        """Let another instance of a service run while inside, as the runner started the first one.

        Args:
            name: of the first one.
            settings: that differ from the first one's.

        """
        environment = self.process(name).environ() | settings
        log = self.directory / f"another-{name}.log"
        another = Process([sys.executable, "-m", MODULES[service_of(name)]], environment=environment, log=log)
        another.start()
        try:
            yield another
        finally:
            another.kill()

    def restart(self, *, orderly: bool, during: Callable[[], None] = lambda: None) -> None:
        """Stop the whole mesh (or kill its runner), do something, start it again and wait until it serves."""
        if orderly:
            self.mesh.stop()
        else:
            self.mesh.process.kill()
        during()
        self.mesh.start()

    def _supervisor(self, method: str, *arguments: object) -> None:
        transport = SupervisorTransport(serverurl=f"unix://{self.mesh.record.socket}")
        with contextlib.closing(transport):
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            getattr(proxy.supervisor, method)(*arguments)

    # What it says

    def ready(self) -> bool:
        """Whether every service behind the gateway serves."""
        try:
            answer = httpx.get(self.mesh.url + "/readyz", timeout=2)
        except httpx.HTTPError:
            return False
        # The gateway alone is ready while live prices can be answered, also without the store.
        return answer.status_code == 200 and set(answer.json()["upstreams"].values()) == {"SERVING"}

    def shared(self) -> bool:
        """Whether every instance of each service that the runner keeps holds partitions, and no other one does."""
        running = Counter(map(service_of, self.mesh.record.processes))
        try:
            owners = asyncio.run(_owners(self.mesh.env["NATS_URL"]))
        except (NatsError, TimeoutError):  # a lease was given back between two questions, or the bus has no leader
            return False
        return all(len(owners[service]) == running[service] for service in ("ingest", "signal", "store"))

    def leader(self) -> str:
        """Return the name of the nats-server that leads most streams."""
        leads = Counter(asyncio.run(_leaders(self.mesh.env["NATS_URL"])))
        [(leader, _)] = leads.most_common(1)
        return NATS[int(leader.removeprefix("tickmesh-")) - 1]

    def streams(self) -> list[str]:
        """Return the names of all streams of the bus."""
        return asyncio.run(_streams(self.mesh.env["NATS_URL"]))

    def led_again(self, streams: Sequence[str], *, within_s: float) -> None:
        """Wait until each of these streams has a leader, which alone answers for it. Raises: NotYet."""
        try:
            asyncio.run(asyncio.wait_for(_led(self.mesh.env["NATS_URL"], streams), within_s))
        except TimeoutError:
            raise NotYet(f"not within {within_s:g} s: every stream has a leader") from None

    def followed(self) -> str:
        """Return the venue of the price that everybody sees now, empty while there is none."""
        try:
            answer = httpx.get(self.mesh.url + "/api/price", timeout=2)
        except httpx.HTTPError:
            return ""
        return str(answer.json()["venue"]) if answer.status_code == 200 else ""

    def status(self) -> str:
        """Return what the mesh says of itself, as JSON."""
        try:
            return httpx.get(self.mesh.url + "/api/status", timeout=2).text
        except httpx.HTTPError:
            return ""

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self.mesh.env["DATABASE_URL"], connect_timeout=3) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()


async def _owners(nats_url: str) -> Mapping[str, set[str]]:
    """Return by service which instances hold its partitions."""
    owners: dict[str, set[str]] = defaultdict(set)
    async with await nats.connect(nats_url.split(",")) as client:
        bucket = await client.jetstream().key_value(subjects.LEASE_BUCKET)
        for key in await bucket.keys():
            service, _, part = key.partition(".")
            if part.isdecimal():
                owners[service].add(str(json.loads((await bucket.get(key)).value or b"")["instance"]))
    return owners


async def _leaders(nats_url: str) -> list[str]:
    """Return who leads each stream, as far as it is led now."""
    async with await nats.connect(nats_url.split(",")) as client:
        return [
            one.cluster.leader for one in await client.jetstream().streams_info() if one.cluster and one.cluster.leader
        ]


async def _streams(nats_url: str) -> list[str]:
    async with await nats.connect(nats_url.split(",")) as client:
        return [str(one.config.name) for one in await client.jetstream().streams_info()]


async def _led(nats_url: str, streams: Sequence[str]) -> None:
    async with await nats.connect(nats_url.split(",")) as client:
        js = client.jetstream(timeout=_LEADER_ANSWERS_S)
        for stream in streams:
            led = False
            while not led:
                with contextlib.suppress(NatsError, TimeoutError):
                    led = await js.stream_info(stream) is not None


@contextlib.contextmanager
def running_world(directory: Path, *, seed: int, **settings: str) -> Iterator[World]:
    """Start both, the exchange silent, and wait until every symbol is followed: from there on nothing may be lost."""
    symbols = ",".join(SYMBOLS)
    with running_sim(
        "--rate", "0", "--seed", str(seed), "--symbols", symbols, "--log", str(directory / "issued.csv")
    ) as sim:
        port = urlsplit(sim.rest).port
        venue = {
            "VENUE": "binance",
            "BINANCE_WS_URL": sim.ws,
            "BINANCE_REST_URL": ",".join(f"http://{name}:{port}" for name in _REST_NAMES),
            "SYMBOLS": symbols,
        }
        with contextlib.ExitStack() as at_the_end, running_mesh(directory, **venue, **settings) as mesh:
            world = World(sim, mesh, directory, at_the_end)
            expected = {f"{symbol}@trade" for symbol in SYMBOLS}
            until(lambda: expected <= set(sim.status()["streams"]), timeout_s=30, what="every symbol followed")
            yield world


def until(look: Callable[[], T | None], *, timeout_s: float, what: str) -> T:
    """Look again and again until what is seen is true, and return it. Raises: NotYet."""
    deadline_s = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline_s:
            raise NotYet(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.1)
    return seen
