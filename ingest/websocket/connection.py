"""One connection to the venue, from its opening to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ingest import metrics
from ingest.followed_symbols import FollowedSymbols
from ingest.http.errors import VenueRequestError
from ingest.messages import BadFrame, ClosedCandle
from ingest.publish.bad_frames import BadFrames
from ingest.publish.trade_publisher import TradePublisher
from ingest.venue import Venue
from ingest.websocket.coalescer import Coalescer
from ingest.websocket.host_rotation import Endpoint
from ingest.websocket.session import (
    Event,
    Followed,
    MinutesRefused,
    MinutesSeen,
    Refused,
    Session,
    ShutdownAnnounced,
    UnknownSeen,
)
from ingest.websocket.silence_watchdog import Doubt, SilenceWatchdog
from ingest.websocket.venue_socket import FrameQueue, HandshakeError, VenueSocket, open_socket, refused_words
from mesh.bus import control, subjects
from mesh.bus.outgoing_queue import OutgoingMessage, OutgoingQueue
from mesh.bus.subjects import MESSAGE_ID
from mesh.values import epochs
from mesh.values.fixed import format_e8
from mesh.values.trades import TradeColumns
from tickcodec.frames import ReadBatches, ReadTrades
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.websocket.connection")

MAX_FRAMES = 65_536
"""Frames that wait in memory at most, some 15 MB; beyond that the socket is not read and the venue has to wait."""

MAX_WAITING_BYTES = 32 * 2**20
"""The same in bytes, for a venue whose frames are longer than any that Binance sends."""

_AT_ONCE = 4096  # frames worked on together
_OPEN_WITHIN_S = 8.0
_TICK_S = 0.5
_REST_AHEAD_S = 1.0  # so much earlier than the socket REST may have a trade
_BUSY_S = 0.5  # whoever worked so long did not listen meanwhile


class VenueConnection:
    """One connection. Run it as a task; then wait for `tried`, and if it is `open`, for `worn`.

    Args:
        venue: whom to follow.
        endpoint: the host, and in which form to ask it.
        followed: the symbols.
        trade_publisher: where trades go.
        outgoing: where closed minutes go.
        bad_frames: where frames go that cannot be read.
        watchdog: how often there are trades, and so when a silence is too long.
        newest_id: asks REST for the id of a symbol's newest trade, None when it has none.
        on_followed: called with each symbol whose trades come from now on, and which may have missed some before.
        received_elsewhere: asked once it is open whether another connection still receives a symbol's trades, so that
            nothing was missed.
        max_age_s: when it is so old it wants to be replaced.

    """

    def __init__(
        self,
        venue: Venue,
        endpoint: Endpoint,
        *,
        # Symbols
        followed: FollowedSymbols,
        # Where what is said goes
        trade_publisher: TradePublisher,
        outgoing: OutgoingQueue,
        bad_frames: BadFrames,
        # Silence
        watchdog: SilenceWatchdog,
        newest_id: Callable[[str], Awaitable[int | None]],
        # The other connections
        on_followed: Callable[[str], None],
        received_elsewhere: Callable[[str], bool],
        max_age_s: float,
    ) -> None:
        self.tried = asyncio.Event()  # it is open, or could not be opened
        self.worn = asyncio.Event()  # it wants to be replaced, or has ended
        self.why = ""
        self.status: int | None = None  # the handshake was refused with
        self.away_s = 0.0  # the venue said to open none for so long
        self.open = False
        self.mute = False  # it is open but says nothing
        self.opened_s = 0.0
        self._venue = venue
        self._endpoint = endpoint
        self._symbols = followed
        self._trade_publisher = trade_publisher
        self._outgoing = outgoing
        self._bad_frames = bad_frames
        self._watchdog = watchdog
        self._newest_id = newest_id
        self._on_followed = on_followed
        self._received_elsewhere = received_elsewhere
        self._max_age_s = max_age_s
        self.session = venue.adapter.session(venue.name, (), plain=endpoint.plain)
        self._frames = FrameQueue(MAX_FRAMES, MAX_WAITING_BYTES)
        self._frames.on_first = self._frame_came
        self._frames_counted = 0  # since metrics were told
        self._coalescer = Coalescer()
        self._is_waiting = False  # `_converse` is, and what comes meanwhile is passed on by `_pass_on`
        self._left: Sequence[Event] = ()  # what `_pass_on` has left to it
        self._failure: Exception | None = None  # of `_pass_on`
        self._settling: asyncio.Task[None] | None = None
        self._at_first: dict[str, int] = {}  # by symbol: what REST's newest trade was when it was asked first

    def receives(self, symbol: str) -> bool:
        """Return whether a symbol's trades come by this connection, as far as anybody can tell."""
        return self.open and not self.mute and not self._frames.closed and self.session.follows(symbol)

    def leave(self) -> None:
        """Stop reading; what has arrived is still passed on."""
        self._frames.close()

    def wake(self) -> None:
        """Look at what is to be followed again, now."""
        self._frames.wake()

    async def run(self) -> None:
        """Live until the connection breaks, `leave` is called, or cancelled; never raises for the venue's doings."""
        try:
            await self._live()
        except HandshakeError as exc:
            self.status, self.away_s = exc.status, exc.away_s
            through = self._venue.network.through(self._endpoint.url)
            self._wear(refused_words(exc, self._venue.ws_urls) + through)
        finally:
            self.open = False
            self._wear("left")
            self.tried.set()

    def _wear(self, why: str) -> None:
        self.why = self.why or why
        self.worn.set()

    async def _live(self) -> None:
        clock = time.monotonic
        symbols = await self._prepared()
        url = self._endpoint.url
        self.session = session = self._venue.adapter.session(self._venue.name, symbols, plain=self._endpoint.plain)
        socket = await open_socket(
            url + session.target, self._frames, network=self._venue.network, within_s=_OPEN_WITHIN_S
        )
        try:
            log.info("connected to %s for %s", url, ", ".join(session.followed[:10]))
            metrics.CONNECTIONS.inc()
            # Only now: the connection before may have ended while this one was being opened.
            missed = tuple(symbol for symbol in session.followed if not self._received_elsewhere(symbol))
            self.open, self.opened_s = True, clock()
            self._watchdog.listen(session.followed, clock())
            ticking = asyncio.create_task(_tick(self._frames))
            try:
                await self._happened(Followed(missed))
                self.tried.set()
                await self._converse(socket, session)
            finally:
                self._is_waiting = False
                others = [task for task in (ticking, self._settling) if task is not None]
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                await self._work(session)
                self._tell_metrics()
        finally:
            await socket.close()
            self._wear(socket.end)

    async def _prepared(self) -> tuple[str, ...]:
        """Return the symbols to follow here, once the trade publisher knows them, so that it takes their first trade.

        One that is selected meanwhile is not among them: its turn comes next time.
        """
        symbols = self._symbols.here(self._trade_publisher.holds)
        for symbol in symbols:
            await self._trade_publisher.follow(symbol)
        return symbols

    async def _converse(self, socket: VenueSocket, session: Session) -> None:
        clock = time.monotonic
        while not self._frames.closed:
            if len(self._frames):
                self._frames.hand_over()  # they came while this worked
            self._is_waiting = True
            called = await self._frames.wait()
            self._is_waiting = False
            if self._failure is not None:
                raise self._failure
            await self._work(session)
            if not called:
                continue  # the rest can wait for the next tick
            self._tell_metrics()
            session.want(await self._prepared())
            for request in session.requests(clock()):
                log.debug("> %s", request)
                socket.send(request)
            self._examine(session, clock())

    def _examine(self, session: Session, now_s: float) -> None:
        self._watchdog.take_note()
        if self.worn.is_set():
            return
        if self._settling is not None and self._settling.done():
            self._settling.result()  # an error of ours is nobody else's to tell
            self._settling = None
        if self._settling is None and (doubt := self._watchdog.doubt(session.followed, now_s)) is not None:
            self._settling = asyncio.create_task(self._settle(doubt))
        elif session.unanswered(now_s):
            self._wear("a request was left unanswered")
        elif now_s - self.opened_s > self._max_age_s:
            self._wear(f"it is {self._max_age_s:g} s old")

    async def _settle(self, doubt: Doubt) -> None:
        """Ask REST whether a silence hides trades; replace the connection unless it says that there were none."""
        watchdog, who = self._watchdog, doubt.symbol or "everybody"
        try:
            missed = await self._missed(doubt.ask)
        except VenueRequestError as exc:
            missed, why = True, f"and REST cannot say whether there were trades: {exc}"
        else:
            why = "though REST has trades that did not come"
        if not missed:
            watchdog.quiet(doubt, time.monotonic())
            metrics.SILENCES.labels("quiet").inc()
            log.debug("%s is silent, and REST has no trade that did not come", who)
        elif not self.worn.is_set():
            watchdog.replaced(doubt)
            metrics.SILENCES.labels("replaced").inc()
            self.mute = True
            self._wear(f"{who} has been silent for longer than usual, {why}")

    async def _missed(self, symbols: Sequence[str]) -> bool:
        """Return whether REST has newer trades than have come.

        Raises:
            VenueRequestError: nothing is known of any symbol.

        """
        newer: dict[str, int] = {}
        unknown: VenueRequestError | None = None
        for symbol in symbols:
            try:
                newest_id = await self._newest_id(symbol)
            except VenueRequestError as exc:
                unknown = exc
                continue
            if newest_id is not None and newest_id > self._reached(symbol, newest_id):
                newer[symbol] = newest_id
        if newer:
            await asyncio.sleep(_REST_AHEAD_S)
            return any(newest_id > self._reached(symbol, newest_id) for symbol, newest_id in newer.items())
        if unknown is not None:
            raise unknown
        return False

    def _reached(self, symbol: str, newest_id: int) -> int:
        """Return the id that has come so far; of a symbol that never traded here, what REST said at first."""
        next_id = self._trade_publisher.next_id(symbol)
        reached = max(self._watchdog.newest_id(symbol), -1 if next_id is None else next_id - 1)
        return reached if reached >= 0 else self._at_first.setdefault(symbol, newest_id)

    def _frame_came(self) -> None:
        """See to it that frames are passed on: with all that this turn of the loop brings, or later in company."""
        loop = asyncio.get_running_loop()
        if (linger_s := self._coalescer.linger_s(time.monotonic())) > 0:
            loop.call_later(linger_s, self._pass_on)
        else:
            loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Pass on what has arrived; what something has to be waited for is left to `_converse`, with all behind it.

        Nearly always that is nothing. Each turn of a task's would be a fifth of the work for a message.
        """
        if not self._is_waiting or not len(self._frames):
            return
        try:
            is_done = len(self._frames) <= _AT_ONCE and self._pass_on_at_once()
        except Exception as exc:  # raised in `_converse`: here only the loop would hear of it
            self._failure, is_done = exc, False
        if not is_done:
            self._is_waiting = False
            self._frames.hand_over()

    def _pass_on_at_once(self) -> bool:
        frames, received_time_us = self._take_frames()
        self._left = self._take_at_once(self.session.receive(frames, received_time_us=received_time_us))
        return not self._left and self._trade_publisher.flush_at_once()

    def _take_frames(self) -> tuple[list[bytes], int]:
        frames, received_time_us = self._frames.take()
        self._frames_counted += len(frames)
        self._coalescer.worked(len(frames), time.monotonic())
        return frames, received_time_us

    async def take_in(self, frames: Sequence[bytes], *, received_time_us: int) -> None:
        """Pass on what frames say that came together, each to where it belongs.

        Args:
            frames: in the order they came; whatever stands in them, nothing is raised because of it.
            received_time_us: when the first of them came, since 1970.

        """
        await self._finish(self._take_at_once(self.session.receive(frames, received_time_us=received_time_us)))

    def _take_at_once(self, events: Sequence[Event]) -> Sequence[Event]:
        """Take trades as they nearly always are, to be published by a flush; return what is left for `_finish`."""
        if not events or not isinstance(events[0], ReadBatches):
            return events
        left = self._trade_publisher.take_at_once(events[0])
        if left is None:
            return events
        self._hear({trades.symbol: trades.highest_id for trades in left})
        return [*left, *events[1:]]

    def _hear(self, newest_ids: Mapping[str, int]) -> None:
        """Let the watchdog know of trades that have not passed, all that came together."""
        if newest_ids:
            self._watchdog.traded(self._followed_among(newest_ids), time.monotonic())

    def _followed_among(self, ids: Mapping[str, int]) -> Mapping[str, int]:
        if self.session.follows_all(ids):
            return ids
        return {symbol: id_ for symbol, id_ in ids.items() if self.session.follows(symbol)}

    async def _finish(self, left: Sequence[Event]) -> None:
        for event in left:
            await self._happened(event)
        await self._trade_publisher.flush()

    async def _work(self, session: Session) -> None:
        """Pass on what `_pass_on` has left, and all that has arrived since."""
        clock = time.monotonic
        began_s = clock()
        left, self._left = self._left, ()
        await self._finish(left)  # and what was gathered when this was cancelled
        frames, received_time_us = self._take_frames()
        for start in range(0, len(frames), _AT_ONCE):
            await self.take_in(frames[start : start + _AT_ONCE], received_time_us=received_time_us)
        if clock() - began_s > _BUSY_S:
            self._watchdog.listen(session.followed, clock())

    def _tell_metrics(self) -> None:
        metrics.FRAMES.inc(self._frames_counted)
        self._frames_counted = 0

    async def _happened(self, event: Event) -> None:
        match event:
            case Followed(symbols):
                for symbol in symbols:
                    self._on_followed(symbol)
            case ClosedCandle() if not self.session.follows(event.symbol):
                log.debug("a minute of %s, which is not followed", event.symbol)
            case ClosedCandle():
                if why := self._trade_publisher.why_no_candle(event):
                    self._bad_frames.take(BadFrame(why, repr(event).encode()))
                else:
                    epoch = self._trade_publisher.epoch(event.symbol)
                    self._outgoing.put(closed_minute(self._venue.name, event, epoch=epoch))
            case Refused(symbols, code, message, again_after_s):
                words = "the venue refuses %s: %d %s; asking again in %g s"
                log.error(words, ", ".join(symbols), code, message, again_after_s)
            case MinutesRefused(symbols, code, message):
                words = "the venue refuses %s: %d %s; asking for the trades alone: these minutes are not verified"
                log.warning(words, ", ".join(symbols), code, message)
            case ShutdownAnnounced():
                self._wear("the venue is about to shut that server down")
            case UnknownSeen(name):
                metrics.UNKNOWN_EVENTS.inc()
                log.debug("unknown event %s", name)
            case BadFrame():
                self._bad_frames.take(event)
            case MinutesSeen(last_trade_ids):
                self._watchdog.minutes(self._followed_among(last_trade_ids), time.monotonic())
            case ReadBatches():
                left = await self._trade_publisher.take_together(event)
                self._hear({trades.symbol: trades.highest_id for trades in left})
                for trades in left:
                    await self._trade_publisher.take(trades)
            case ReadTrades():
                await self._trade_publisher.take(event)
            case TradeColumns():
                self._hear({event.symbol: int(event.trade_id.max())})
                await self._trade_publisher.take(event)


def closed_minute(venue: str, candle: ClosedCandle, *, epoch: int = 0) -> OutgoingMessage:
    """Return the message of a minute that the venue has closed.

    Its id makes the bus keep it once where two connections bring it.

    Args:
        venue: whose.
        candle: as the venue tells it; its ids are those of the venue.
        epoch: of the symbol, which makes keys of them.

    """
    message = control_pb2.VenueCandle(
        venue=venue,
        symbol=candle.symbol,
        open_time_us=candle.open_time_us,
        first_trade_id=epochs.key_of(epoch, candle.first_trade_id),
        last_trade_id=epochs.key_of(epoch, candle.last_trade_id),
        trade_count=candle.trade_count,
        open_e8=candle.open_e8,
        high_e8=candle.high_e8,
        low_e8=candle.low_e8,
        close_e8=candle.close_e8,
        volume_decimal=format_e8(candle.volume_e8),
    )
    message_id = f"candle-{venue}-{subjects.token(candle.symbol)}-{candle.open_time_us}"
    return OutgoingMessage(subjects.candle(venue, candle.symbol), control.encode(message), {MESSAGE_ID: message_id})


async def _tick(frames: FrameQueue) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        frames.wake()
