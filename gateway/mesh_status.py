"""`/api/status`: how every service of the mesh is, kept in memory, so that it is answered whoever is away.

Asks the StatusService of signal or of store every second, takes each service's newest report and adds the gateway's
own. Each of the two has the reports of all, so they take turns; both are asked where one is not well.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import grpc
from google.protobuf.message import Message
from prometheus_client import Gauge

from gateway.call_options import CallOptions
from mesh.service import status
from mesh.service.health import Health, State
from mesh.service.rpc import authorization
from mesh.service.status import Received
from tickmesh.v1 import status_pb2
from tickmesh.v1.status_pb2_grpc import StatusServiceStub

log = logging.getLogger("gateway.mesh_status")

ASK_EVERY_S = 1.0
ANSWER_WITHIN_S = 2.0

FEED = Gauge("tickmesh_feed_state", "1 for the state the feed from the venue is in, 0 for all others", ["state"])
SERVICE = Gauge("tickmesh_service_state", "1 for the state a service is in, 0 for all others", ["service", "state"])
RESTARTS = Gauge("tickmesh_service_restarts", "Starts of a service that did not follow an orderly stop", ["service"])
LAST_TRADE_S = Gauge("tickmesh_last_trade_timestamp_seconds", "When the last trade of any symbol happened")

_FEED_STATES = {number: name.removeprefix("FEED_STATE_") for name, number in status_pb2.FeedState.items() if number}
_SERVICE_STATES = {
    number: name.removeprefix("STATE_") for name, number in status_pb2.ServiceStatus.State.items() if number
}


_NOT_WELL = (status_pb2.Condition.STATE_DEGRADED, status_pb2.Condition.STATE_FAILED)


class StatusCollector:
    """What the gateway knows of the mesh; `run` keeps it up to date.

    Args:
        channels: `signal` and `store` -> the channel to it.
        flowing: whether the trades of all partitions come from signal; None while nobody wants them.
        away: says why not, in words for people.
        token: what the services want to be shown; None when nothing.

    """

    def __init__(
        self,
        channels: Mapping[str, grpc.aio.Channel],
        *,
        flowing: Callable[[], bool | None],
        away: Callable[[], str] = lambda: "",
        token: str | None = None,
    ) -> None:
        self._stubs = {name: StatusServiceStub(channel) for name, channel in channels.items()}
        self._channels = channels
        self._flowing = flowing
        self._away = away
        self._metadata = authorization(token)
        self._answers: dict[str, tuple[status_pb2.GetStatusResponse, float]] = {}
        self.health = Health("signal")
        self._run = status.first_report("gateway", None, now_us=_now_us())
        self._run.ClearField("restarts")  # there is no bus here that would hold the report of the run before
        self._run.version = version("tickmesh")

    async def run(self) -> None:
        """Ask one of the two in turn, or both where one is not well, for ever; a task of the gateway's own."""
        for name in itertools.cycle(self._stubs):
            asked = [name] if self._are_well() else [*self._stubs]
            await asyncio.gather(*map(self._ask, asked), asyncio.sleep(ASK_EVERY_S))
            self._update_metrics(self.response(without_symbols=True))

    def _are_well(self) -> bool:
        if len(self._answers) < len(self._stubs) or self._flowing() is False:
            return False
        if any(channel.get_state() is not grpc.ChannelConnectivity.READY for channel in self._channels.values()):
            return False
        return all(condition.state is State.OK for condition in self.health.conditions)

    async def ask(self) -> status_pb2.GetStatusResponse:
        """Ask both now, and return the status of the mesh."""
        await asyncio.gather(*map(self._ask, self._stubs))
        return self.response()

    def response(self, *, without_symbols: bool = False) -> status_pb2.GetStatusResponse:
        """Return the status of the mesh as it is known now.

        Args:
            without_symbols: whether the feeds of the symbols are left out: 300 of them take most of the time.

        """
        now_us = _now_us()
        own = Received(status.report_of(self._run, self.health, now_us=now_us), 0.0)
        answers = [_received(answer, time.monotonic() - at_s) for answer, at_s in self._answers.values()]
        reports = status.newest(*answers, {"gateway": own})
        response = status.summarize(reports, now_us=now_us, without_symbols=without_symbols)
        status.leave_out_reported_symbols(response)
        return response

    def warnings(self) -> list[str]:
        """Return what is not as it should be with ingest: a price may stand still that is answered all the same."""
        for service in self.response(without_symbols=True).services:
            if service.service == "ingest" and service.HasField("report"):
                return [one.message or one.name for one in service.report.conditions if one.state in _NOT_WELL]
        return []

    async def call(self, request: Message, options: CallOptions) -> Message:  # noqa: ARG002 - as calls of services
        """Answer a GetStatusRequest; never fails.

        Args:
            request: says whether symbols are left out.
            options: are for calls of other services, and none is made.

        """
        assert isinstance(request, status_pb2.GetStatusRequest)
        return self.response(without_symbols=request.without_symbols)

    async def _ask(self, name: str) -> None:
        try:
            answer = await self._stubs[name].GetStatus(
                status_pb2.GetStatusRequest(), timeout=ANSWER_WITHIN_S, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as exc:
            problem = "does not answer" if exc.code() == grpc.StatusCode.UNAVAILABLE else exc.code().name
            self._note(name, f"{name} {problem}")
            return
        self._answers[name] = answer, time.monotonic()
        if name == "signal" and self._flowing() is False:
            self._note(name, self._away() or "the stream of trades from signal is not open")
        else:
            self._note(name, "")

    def _note(self, name: str, problem: str) -> None:
        self.health.condition(name, State.FAILED if problem else State.OK, problem)

    def _update_metrics(self, response: status_pb2.GetStatusResponse) -> None:
        for feed, name in _FEED_STATES.items():
            FEED.labels(name).set(feed == response.state)
        for service in response.services:
            for state, name in _SERVICE_STATES.items():
                SERVICE.labels(service.service, name).set(state == service.state)
            if service.report.HasField("restarts"):  # else the number would seem to rise when the report arrives
                RESTARTS.labels(service.service).set(service.report.restarts)
            if service.report.HasField("feed") and service.report.feed.HasField("last_trade_time"):
                LAST_TRADE_S.set(service.report.feed.last_trade_time.ToMicroseconds() / 1e6)


def _received(answer: status_pb2.GetStatusResponse, since_s: float) -> dict[str, Received]:
    return {
        one.service: Received(one.report, one.report_age_s + since_s)
        for one in answer.services
        if one.HasField("report") and one.service != "gateway"
    }


def _now_us() -> int:
    return time.time_ns() // 1000
