"""What can be done to the world: each gives a strike; when the strike returns the fault is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import Callable, Mapping

import grpc
import httpx
import nats
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.asyncio.client import ClientConnection, connect

from mesh.bus import subjects
from mesh.local import postgres
from mesh.local.state import StateDirectory
from tests.chaos.clock import step
from tests.chaos.disk import empty, fill
from tests.chaos.world import PROGRAMS, SYMBOLS, NotYet, World, until
from tests.fixtures.exports import LooksWhole, export_in_two
from tests.fixtures.postgres import PostgresServer, copy_to_follow

_WS_LATE_S = 1.0
"""So much longer than signal `/ws` may be silent."""

Strike = Callable[[World], None]

_PORTS_OF_ITS_OWN = dict.fromkeys(("SIGNAL_ADDR", "STORE_ADDR"), "127.0.0.1:0") | {"METRICS_PORT": ""}

EVERY_STREAM = (
    subjects.RAW,
    subjects.PROCESSED,
    subjects.CONTROL,
    subjects.CANDLES,
    f"KV_{subjects.ENGINE_BUCKET}",
    f"KV_{subjects.LEASE_BUCKET}",
)


def killed(*names: str) -> Strike:
    return lambda world: world.kill(*names)


def frozen(name: str, seconds: float) -> Strike:
    def strike(world: World) -> None:
        with world.frozen(name):
            time.sleep(seconds)

    return strike


def away(name: str, seconds: float) -> Strike:
    def strike(world: World) -> None:
        with world.without(name):
            time.sleep(seconds)

    return strike


def seconds_beside(*names: str, for_s: float) -> Strike:
    """Second instances run beside the first ones, which are killed half-way; at the end the second ones are."""

    def strike(world: World) -> None:
        with contextlib.ExitStack() as stack:
            for name in names:
                second = stack.enter_context(world.another(name, **_PORTS_OF_ITS_OWN))
                second.wait_for_line(f"another {name} is running", timeout_s=30)
            time.sleep(for_s / 2)
            world.kill(*names)
            time.sleep(for_s / 2)

    return strike


def third_comes_and_goes(*names: str, for_s: float) -> Strike:
    """A third instance of each service is given its share by the two there are, and gives it back in order."""

    def strike(world: World) -> None:
        with contextlib.ExitStack() as stack:
            thirds = [stack.enter_context(world.another(name, **_PORTS_OF_ITS_OWN)) for name in names]
            for third in thirds:
                third.wait_for_line("working in partition", timeout_s=30)
            time.sleep(for_s)
            for third in thirds:
                third.stop()

    return strike


def started_twice(*names: str) -> Strike:
    """Somebody starts each instance once more, by the very command and settings of the one that runs.

    Whose address is taken ends and says so; who has none works as a third one, until it is killed.
    """

    def strike(world: World) -> None:
        for name in names:
            first = world.process(name)
            with world.another(name) as twin:
                said = "working in partition" if name.startswith("ingest") else r"(?i)cannot listen"
                twin.wait_for_line(said, timeout_s=30)
            if world.process(name) != first:
                raise NotYet(f"{name} was started again, expected that it goes on beside its twin")

    return strike


def leader_killed(world: World) -> None:
    """The nats-server that leads most streams is killed; over when the servers have chosen who leads them now."""
    until(world.mesh.bus_is_whole, timeout_s=60, what="every nats-server is well")
    streams, leader, began_s = world.streams(), world.leader(), time.monotonic()
    world.kill(leader)
    world.led_again(streams, within_s=60)
    print(f"    every stream has a leader again after {time.monotonic() - began_s:.1f} s", flush=True)


def leader_frozen(seconds: float) -> Strike:
    """The nats-server that leads most streams stands still."""

    def strike(world: World) -> None:
        until(world.mesh.bus_is_whole, timeout_s=60, what="every nats-server is well")
        frozen(world.leader(), seconds)(world)

    return strike


def rolled(*names: str) -> Strike:
    """Programs are restarted in order, the next one when the one before is back and has its share of the work."""

    def strike(world: World) -> None:
        for name in names:
            with world.without(name):
                """It has stopped in order, and is started at once."""
            world.process(name)
            until(
                lambda: world.mesh.bus_is_whole() and world.ready() and world.shared(),
                timeout_s=60,
                what=f"the mesh is whole again after the restart of {name}",
            )

    return strike


def failed_over(*stores: str) -> Strike:
    """The database's machine is lost with its disk, while a standby follows it, which is promoted.

    Args:
        stores: the instances of store, which are told of both.

    """

    def strike(world: World) -> None:
        state, port = StateDirectory(world.mesh.state_dir), world.mesh.record.ports["POSTGRES_PORT"]
        superuser, password = state.passwords().superuser, state.passwords().database
        url = postgres.url(superuser, port, user=postgres.SUPERUSER, database="postgres")
        data = copy_to_follow(state.postgres_data, url, world.directory / "standby")
        standby = PostgresServer(data, passwords=(superuser, password))
        standby.start_as_standby()
        world.at_the_end.callback(standby.stop)
        for name in stores:
            script = state.start_script_of(name)
            both = f"127.0.0.1:{port},127.0.0.1:{standby.port}/"
            script.write_text(script.read_text().replace(f"127.0.0.1:{port}/", both))
        rolled(*stores)(world)
        time.sleep(2)

        (state.postgres_data / "global" / "pg_control").unlink()  # the runner starts it again in vain
        world.kill("postgres")
        standby.promote()
        world.mesh.env["DATABASE_URL"] = standby.url

    return strike


def one_after_the_other(*strikes: Strike, pause_s: float) -> Strike:
    def strike(world: World) -> None:
        for each in strikes:
            each(world)
            time.sleep(pause_s)

    return strike


def all_frozen(*names: str, seconds: float) -> Strike:
    def strike(world: World) -> None:
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(world.frozen(name))
            time.sleep(seconds)

    return strike


def told(*faults: Mapping[str, object], lasts_s: float = 0.5) -> Strike:
    """The exchange misbehaves on command."""

    def strike(world: World) -> None:
        world.misbehave(*faults)
        time.sleep(lasts_s)

    return strike


def before_a_minute_ends(strike: Strike, *, before_s: float) -> Strike:
    """Wait until the minute of the clock is about to end."""

    def later(world: World) -> None:
        time.sleep((60 - before_s - time.time()) % 60)
        strike(world)

    return later


def begun_again_without_ingest(seconds: float) -> Strike:
    """The exchange begins its ids again while ingest is away; what it forgets by that has all been told before."""

    def strike(world: World) -> None:
        rate = world.sim.status()["rate"]
        world.feed(0)
        time.sleep(1)
        with world.without("ingest"):
            world.misbehave({"kind": "begin_again"})
            world.feed(rate)
            time.sleep(seconds)

    return strike


def restarted(*, orderly: bool) -> Strike:
    return lambda world: world.restart(orderly=orderly)


def listened_to(seconds: float) -> Strike:
    """Signal is away, and a client of `/ws` notes how much longer than signal its trades were."""

    def strike(world: World) -> None:
        asyncio.run(_listen_beside(world, seconds))

    return strike


async def _listen_beside(world: World, seconds: float) -> None:
    heard_s = 0.0

    async def listen(client: ClientConnection) -> None:
        nonlocal heard_s
        async for message in client:
            if '"price":' in str(message):
                heard_s = time.monotonic()

    url = world.mesh.url.replace("http", "ws", 1) + "/ws?symbols=*"
    async with (
        connect(url, proxy=None, compression=None) as client,
        grpc.aio.insecure_channel(
            world.mesh.env["SIGNAL_ADDR"], options=[("grpc.max_reconnect_backoff_ms", 100)]
        ) as to,
    ):
        listening = asyncio.create_task(listen(client))
        with world.without("signal"):
            await asyncio.sleep(seconds)
            silent_s = heard_s
        served_s = await _served(to)
        while heard_s == silent_s:
            if time.monotonic() > served_s + _WS_LATE_S + 10:
                break
            await asyncio.sleep(0.01)
        late_s = (heard_s if heard_s != silent_s else time.monotonic()) - served_s
        listening.cancel()
    print(f"    /ws went on {late_s:.2f} s after signal served", flush=True)
    if late_s > _WS_LATE_S:
        raise NotYet(f"/ws went on {late_s:.2f} s after signal served, expected {_WS_LATE_S:g} s at most")


async def _served(channel: grpc.aio.Channel) -> float:
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="tickmesh.v1.SignalService")
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await health.Check(request, timeout=1)  # type: ignore[attr-defined]  # untyped
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return time.monotonic()
        await asyncio.sleep(0.02)
    raise NotYet("signal does not serve within 60 s of its start")


def database_missing_at_the_start(seconds: float) -> Strike:
    """PostgreSQL finds its files away, as on a disk that is not mounted yet; everything else starts before it."""

    def strike(world: World) -> None:
        world.mesh.stop()
        control = StateDirectory(world.mesh.state_dir).postgres_data / "global" / "pg_control"
        hidden = control.with_name("pg_control.away")
        control.rename(hidden)
        world.mesh.process.start()
        time.sleep(seconds)
        hidden.rename(control)
        until(world.ready, timeout_s=60, what="the mesh is ready again")

    return strike


def slow_database(seconds: float) -> Strike:
    """Nine tenths of the time somebody else holds a lock on the table, so that the store is slower than the feed."""

    def strike(world: World) -> None:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            with psycopg.connect(world.mesh.env["DATABASE_URL"]) as connection:
                connection.execute("LOCK TABLE trades IN EXCLUSIVE MODE")
                time.sleep(0.9)
            time.sleep(0.1)

    return strike


def rows_deleted(world: World) -> None:
    """Somebody deletes rows behind the store's back; its next start finds that."""
    world.query(
        "DELETE FROM trades WHERE symbol = 'btcusdt' AND trade_id IN ("
        "SELECT trade_id FROM trades WHERE symbol = 'btcusdt' ORDER BY trade_id OFFSET 100 LIMIT 300) RETURNING 1"
    )
    world.kill("store")


_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_some() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.trade_id % 50 = 7 THEN
        RAISE EXCEPTION USING ERRCODE = '53400', MESSAGE = 'tuple decompression limit exceeded by operation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_some BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION refuse_some();
"""


def rows_refused(seconds: float) -> Strike:
    """The database refuses each fiftieth trade with an error that waiting does not mend; then it does no more.

    A trigger says what TimescaleDB's community edition says of compressed chunks; any PostgreSQL can have it.
    """

    def strike(world: World) -> None:
        def aside() -> int:
            return StateDirectory(world.mesh.state_dir).log_of("store").read_text().count("is a dead letter: ")

        before = aside()
        with psycopg.connect(world.mesh.env["DATABASE_URL"]) as connection:
            connection.execute(_REFUSE)
        try:
            time.sleep(seconds)
            until(lambda: aside() > before, timeout_s=60, what="store puts refused trades aside")
        finally:
            with psycopg.connect(world.mesh.env["DATABASE_URL"]) as connection:
                connection.execute("DROP TRIGGER refuse_some ON trades")

    return strike


def states_refused(seconds: float) -> Strike:
    """The bucket for signal's states takes none for so long, and signal is killed meanwhile."""

    def strike(world: World) -> None:
        # A limit of its bytes would not do: a full bucket still takes what is no larger than what it replaces.
        before = asyncio.run(_limit_states(world, 1))
        try:
            until(lambda: "not saved" in world.status(), timeout_s=30, what="/api/status says that no state is saved")
            time.sleep(seconds / 2)
            world.kill("signal")
            time.sleep(seconds / 2)
        finally:
            asyncio.run(_limit_states(world, before))

    return strike


async def _limit_states(world: World, max_msg_size: int) -> int:
    bus = await nats.connect(world.mesh.env["NATS_URL"])
    try:
        config = (await bus.jetstream().stream_info(f"KV_{subjects.ENGINE_BUCKET}")).config
        await bus.jetstream().update_stream(config, max_msg_size=max_msg_size)
    finally:
        await bus.close()
    assert config.max_msg_size is not None
    return config.max_msg_size


def clock_steps(*steps_s: int) -> Strike:
    """The machine's time of day jumps, and jumps again."""

    def strike(world: World) -> None:
        for ahead_s in steps_s:
            step(world.directory, ahead_s)
            told_s = float(world.query("SELECT extract(epoch FROM now())")[0][0])
            assert abs(told_s - time.time() - ahead_s) < 60, "the database's clock has not stepped"
            time.sleep(2)

    return strike


def power_cut(*streams: str) -> Strike:
    """The last seconds of some of the bus' streams were never written to the disk; the whole mesh starts anew."""

    def strike(world: World) -> None:
        files = StateDirectory(world.mesh.state_dir).nats_data / "jetstream" / "$G" / "streams"
        kept = world.directory / "kept"
        with world.frozen("nats"):
            for stream in streams:
                shutil.copytree(files / stream, kept / stream)
        time.sleep(3)

        def lose() -> None:
            for stream in streams:
                shutil.rmtree(files / stream)
                shutil.copytree(kept / stream, files / stream)

        world.restart(orderly=False, during=lose)

    return strike


def power_cut_regrown(stream: str) -> Strike:
    """A stream's last seconds were never written to the disk, and it grows past them before store starts again."""

    def strike(world: World) -> None:
        files = StateDirectory(world.mesh.state_dir).nats_data / "jetstream" / "$G" / "streams"
        kept = world.directory / "kept-regrown"
        with world.frozen("nats"):
            shutil.copytree(files / stream, kept)
        time.sleep(2)
        with world.without("store"):
            with world.without("nats"):
                shutil.rmtree(files / stream)
                shutil.copytree(kept, files / stream)
            time.sleep(6)

    return strike


def disk_full(folder: str, seconds: float) -> Strike:
    """A disk of its own under STATE_DIR has no room left; then it has again."""

    def strike(world: World) -> None:
        disk = world.mesh.state_dir / folder
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            fill(disk)
            time.sleep(0.1)
        empty(disk)

    return strike


def bus_lost(world: World) -> None:
    """The disk of the bus is lost, with all that was on it."""
    with world.without("nats"):
        shutil.rmtree(StateDirectory(world.mesh.state_dir).nats_data / "jetstream")


def bus_lost_after_ids_began_again(world: World) -> None:
    """The ids have begun again, and then the bus forgets everything, that too, while ingest does not run."""
    world.misbehave({"kind": "begin_again"})
    time.sleep(4)
    with world.without("ingest"):
        bus_lost(world)


def started_without_the_exchange(seconds: float) -> Strike:
    """A mesh whose bus knows nothing starts before the exchange can be reached, and follows its simulated one so long.

    The exchange issues trades all the while; when it can be reached the mesh changes over to it by itself.
    """

    def strike(world: World) -> None:
        world.mesh.stop()
        # Else it would wait for the exchange that it followed just now.
        shutil.rmtree(StateDirectory(world.mesh.state_dir).nats_data / "jetstream")
        world.mesh.process.environment |= {"VENUE": "auto", "VENUE_TIMEOUT_S": "1", "VENUE_RETRY_S": "1"}
        world.misbehave(
            {"kind": "refuse", "for_s": 600}, {"kind": "rest", "status": 503, "path": "/ping", "for_s": 600}
        )
        world.mesh.start()
        until(lambda: world.followed() == "sim", timeout_s=60, what="the simulated exchange is followed")
        time.sleep(seconds)
        world.behave()
        until(lambda: world.followed() == "binance", timeout_s=60, what="the exchange is followed")

    return strike


_ROWS_TO_EXPORT = 400_000
"""30 MB of CSV: more than all buffers between store and client hold."""


def killed_during_an_export(world: World) -> None:
    """The store is killed while a client exports, who then asks for what is left."""
    world.query(
        "INSERT INTO trades (time, venue, symbol, trade_id, price, quantity, is_buyer_maker) "
        "SELECT timestamptz '2024-01-01' + n / 3 * interval '1 ms', 'export', 'btcusdt', n, 60000.5, 0.001, false "
        f"FROM generate_series(1, {_ROWS_TO_EXPORT}) AS n RETURNING 1"
    )
    with httpx.Client(base_url=world.mesh.url, trust_env=False, timeout=60) as http:
        path = "/api/export/trades?venue=export&symbol=btcusdt"
        try:
            rows = export_in_two(http, path, break_off=lambda: world.kill("store"))
        except (LooksWhole, httpx.HTTPStatusError) as exc:
            raise NotYet(str(exc)) from exc
    if [int(row.split(",")[2]) for row in rows] != list(range(1, _ROWS_TO_EXPORT + 1)):
        raise NotYet(f"both exports together have {len(rows):,} rows, expected each of {_ROWS_TO_EXPORT:,} once")


def nonsense_in_raw(world: World) -> None:
    """Somebody who may do everything writes to the stream that has one writer, and no trades."""

    async def publish() -> None:
        bus = await nats.connect(world.mesh.env["NATS_URL"])
        for subject in (subjects.raw_of_symbol("binance", SYMBOLS[0]), subjects.raw_of_symbol("binance", "nosuchcoin")):
            await bus.jetstream().publish(subject, b"no trades at all")
        await bus.close()

    asyncio.run(publish())


def stream_full(world: World) -> None:
    """The store is away until RAW has no room left: ingest has to wait."""
    with world.without("store"):
        world.feed(5000)
        until(
            lambda: "maximum bytes exceeded" in StateDirectory(world.mesh.state_dir).log_of("ingest").read_text(),
            timeout_s=120,
            what="RAW is full",
        )
        time.sleep(3)
        world.feed(1000)


def anything(seed: int, seconds: float) -> Strike:
    """A seeded sequence of faults, one on the other's heels or together; the mesh is not waited for between them."""

    def strike(world: World) -> None:
        dice = random.Random(seed)
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            name, one = _some_fault(dice)
            print(f"    {name}", flush=True)
            one(world)
            time.sleep(dice.uniform(0, 3))

    return strike


def _some_fault(dice: random.Random) -> tuple[str, Strike]:
    kind = dice.randrange(4)
    if kind == 0:
        names = dice.sample(PROGRAMS, dice.randint(1, 3))
        return f"kill -9 of {' and '.join(names)}", killed(*names)
    name, seconds = dice.choice(PROGRAMS), round(dice.uniform(0.5, 4), 1)
    if kind == 1:
        return f"{name} stands still for {seconds} s", frozen(name, seconds)
    if kind == 2:
        return f"{name} is away for {seconds} s", away(name, seconds)
    fault: dict[str, object] = dice.choice(
        [
            {"kind": "disconnect", "for_s": seconds},
            {"kind": "drop", "count": dice.randint(1, 300)},
            {"kind": "duplicate", "count": dice.randint(1, 300)},
            {"kind": "reorder", "count": dice.randint(2, 300)},
            {"kind": "garble", "count": dice.randint(1, 50)},
            {"kind": "hole", "symbol": "ethusdt", "count": dice.randint(1, 50)},
            {"kind": "silence", "for_s": seconds, "pongs": dice.random() < 0.5},
            {"kind": "rest", "status": dice.choice([429, 500, 503]), "for_s": seconds},
            {"kind": "slow_frames", "for_s": seconds, "delay_s": 0.5},
            {"kind": "expire"},
        ]
    )
    return f"the exchange: {fault}", told(fault)
