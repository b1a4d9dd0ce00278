// The page's state: events in, state out. Run by node:test, from pytest.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Candle, Coin, GetCoverageResponse, GetStatusResponse, Instrument, Message, Trade } from "../src/api.ts";
import { begin, condition, dayBegins, type Event, KEPT_BARS, MOST_BARS, nowMs, reduce, type State } from "../src/state.ts";
import { readRoute } from "../src/route.ts";

const NOON_MS = Date.parse("2026-01-05T12:00:00Z");
const KEY = "btcusdt 1m";

const iso = (afterMs: number): string => new Date(NOON_MS + afterMs).toISOString();
const trade = (id: number, afterMs: number, price: number, quantity = 0.1): Trade => ({ venue: "sim", symbol: "btcusdt", trade_id: id, price, quantity, timestamp: iso(afterMs), side: "BUY", epoch: 0 });
const candle = (minute: number, lastId: number, more: Partial<Candle> = {}): Candle => ({
  ...{ time: iso(minute * 60_000), open: 100, high: 110, low: 90, close: 105, volume: 1, quote_volume: 100, taker_buy_volume: 0.5, count: 10 },
  ...{ first_trade_id: lastId - 9, last_trade_id: lastId, interval: "1m", revision: 0, epoch: 0, closed: true },
  ...{ rsi: 50, atr: 1, macd: 0, macd_signal: 0, macd_histogram: 0, ema: 100, sma: 100, average_gain: 1, average_loss: 1, macd_fast: 100, macd_slow: 100 },
  ...more,
});
const messages = (...sent: Array<Message & { atMs?: number }>): Event => ({ type: "messages", received: sent.map(({ atMs = 1000, ...message }) => ({ message: message as Message, atMs })) });
const trades = (sequence: number, ...rows: Trade[]): Message => ({ type: "trades", subscription: 2, sequence, symbol: "btcusdt", first_id: rows[0]!.trade_id, last_id: rows.at(-1)!.trade_id, trades: rows });
const coins: Event = {
  type: "coins",
  coins: [{ symbol: "btcusdt", name: "Bitcoin (BTC)", status: "TRADING", followed: true } satisfies Coin],
  instruments: [{ symbol: "btcusdt", base_asset: "BTC", quote_asset: "USDT", tick_size: 0.01, step_size: 0.00001, status: "TRADING" } as Instrument],
};
const status = (state: GetStatusResponse["state"]): Event => ({ type: "status", status: { state, message: "why", venue: "sim", services: [], symbols: [], time: iso(0) } });

const ids = { subscription: 1, symbol: "btcusdt", first_id: 1, last_id: 1 };
const moved = (sequence: number, ...candles: Candle[]): Message => ({ type: "candles", ...ids, sequence, candles });
const snapshot = (newest: Candle): Message => ({ type: "snapshot", channel: "candles", ...ids, sequence: 1, candles: [newest] });
/** The candles of a chart: minutes after noon, and their closes. */
const closes = ({ chart }: State): Array<[number, number]> => chart.bars.map((bar) => [(bar.time * 1000 - NOON_MS) / 60_000, bar.close]);

/** A page that shows btcusdt with two closed candles and one that is open, up to the trade 30, and follows the coin. */
function shown(...events: Event[]): State {
  const open: Event[] = [
    coins,
    { type: "link", link: "open", atMs: 0 },
    { type: "candles", key: KEY, candles: [candle(2, 30, { closed: false }), candle(1, 20), candle(0, 10)], breaks: 0, whole: true },
    { type: "following", channel: "candles", subscription: 1 },
    { type: "following", channel: "trades", subscription: 2 },
  ];
  return [...open, ...events].reduce(reduce, begin(readRoute("?symbol=btcusdt")));
}

test("the open candle moves, and is closed and corrected where it is", () => {
  const state = shown(messages(moved(2, candle(2, 31, { closed: false, close: 120, count: 11 }))));
  assert.deepEqual(closes(state), [[0, 105], [1, 105], [2, 120]]);
  const closed = reduce(state, messages(moved(3, candle(1, 20, { revision: 1, close: 99 }), candle(2, 32), candle(3, 33, { closed: false, close: 107 }))));
  assert.deepEqual(closes(closed), [[0, 105], [1, 99], [2, 105], [3, 107]]);
  assert.deepEqual(closed.chart.bars.map((bar) => bar.closed), [true, true, true, false]);
});

test("an answer that is older than what the subscription has told takes nothing back", () => {
  const state = shown(messages(moved(2, candle(1, 20, { revision: 1, close: 99 }), candle(2, 31, { closed: false, close: 120, count: 11 }))));
  const late: Event = { type: "candles", key: KEY, candles: [candle(2, 30, { closed: false }), candle(1, 20)], breaks: 0, whole: true };
  assert.deepEqual(closes(reduce(state, late)), [[0, 105], [1, 99], [2, 120]]);
});

test("candles of a coin or an interval that is no longer shown change nothing", () => {
  const before = shown({ type: "route", route: { interval: "5m" } });
  assert.equal(reduce(before, { type: "older", key: "ethusdt 1m", candles: [candle(-1, 1)] }), before);
  assert.equal(reduce(before, { type: "candles", key: KEY, candles: [], breaks: 0, whole: true }), before);
  const five = reduce(before, { type: "candles", key: "btcusdt 5m", candles: [], breaks: 0, whole: true });
  assert.deepEqual(reduce(five, messages(moved(2, candle(3, 40)))).chart.bars, []);
});

test("older candles stand before those that are known, each once", () => {
  const state = shown({ type: "older", key: KEY, candles: [candle(0, 10), candle(-1, 5), candle(-2, 1)] });
  assert.deepEqual(closes(state).map(([minute]) => minute), [-2, -1, 0, 1, 2]);
  assert.equal(state.chart.exhausted, false);
  assert.equal(reduce(state, { type: "older", key: KEY, candles: [] }).chart.exhausted, true);
});

test("the beginning of a subscription makes the page ask for the candles before it", () => {
  const state = shown({ type: "link", link: "lost", atMs: 5000 }, { type: "link", link: "open", atMs: 9000 }, { type: "following", channel: "candles", subscription: 1 }, messages(snapshot(candle(4, 60, { closed: false }))));
  assert.ok(state.chart.breaks < state.breaks);
  const { chart, breaks, delivery } = reduce(state, { type: "candles", key: KEY, candles: [candle(1, 20), candle(2, 30), candle(3, 40)], breaks: state.breaks, whole: false });
  assert.deepEqual(chart.bars.map((bar) => [bar.closed, (bar.time * 1000 - NOON_MS) / 60_000]), [[true, 0], [true, 1], [true, 2], [true, 3], [false, 4]]);
  assert.deepEqual([chart.breaks, delivery.losses], [breaks, 1]);
});

test("after a time away the candles since the last one from before are missing, whatever has come since", () => {
  const away = shown({ type: "link", link: "lost", atMs: 5000 }, { type: "link", link: "open", atMs: 9000 }, { type: "following", channel: "candles", subscription: 1 });
  const back = reduce(away, messages(snapshot(candle(20, 90, { closed: false })), moved(2, candle(20, 91), candle(21, 92, { closed: false }))));
  const wholeTo = ({ chart }: State): number => (chart.wholeTo * 1000 - NOON_MS) / 60_000;
  assert.equal(wholeTo(back), 2);
  const again = reduce(back, { ...messages(snapshot(candle(30, 99, { closed: false }))) });
  assert.equal(wholeTo(again), 2);
  const answered = reduce(again, { type: "candles", key: KEY, candles: [candle(2, 30), candle(19, 89), candle(20, 91)], breaks: back.breaks, whole: false });
  assert.deepEqual([wholeTo(answered), answered.chart.breaks < answered.breaks], [20, true]);
  const afresh = reduce(again, { type: "candles", key: KEY, candles: [candle(15, 85), candle(29, 98)], breaks: again.breaks, whole: true });
  assert.deepEqual(closes(afresh).map(([minute]) => minute), [15, 20, 21, 29, 30]);
});

test("of too many candles the newest are kept, and those before them can be asked for again", () => {
  const older = Array.from({ length: MOST_BARS }, (_, back) => candle(-1 - back, 9));
  const many = shown({ type: "older", key: KEY, candles: older }, { type: "older", key: KEY, candles: [] });
  assert.deepEqual([many.chart.bars.length, many.chart.exhausted], [MOST_BARS + 3, true]);
  assert.equal(reduce(many, { type: "forget", key: "ethusdt 1m" }), many);
  const { chart } = reduce(many, { type: "forget", key: KEY });
  assert.deepEqual([chart.bars.length, chart.exhausted], [KEPT_BARS, false]);
  assert.deepEqual(chart.bars.at(-1), many.chart.bars.at(-1));
});

test("what was asked for before a subscription began does not do for it", () => {
  const state = shown();
  const begun = reduce(state, messages(snapshot(candle(3, 50, { closed: false }))));
  const { chart, breaks } = reduce(begun, { type: "candles", key: KEY, candles: [candle(2, 30, { closed: false })], breaks: state.breaks, whole: true });
  assert.ok(chart.breaks < breaks);
});

test("candles that do not reach back to those that are known take their place", () => {
  assert.deepEqual(closes(shown({ type: "candles", key: KEY, candles: [candle(50, 99), candle(51, 100)], breaks: 0, whole: true })), [[50, 105], [51, 105]]);
});

test("another venue's candles and trades do not mix with those before", () => {
  const told = status("LIVE") as Extract<Event, { type: "status" }>;
  const { chart, tape } = shown(status("SIM"), messages(trades(1, trade(31, 150_000, 1))), { ...told, status: { ...told.status, venue: "binance" } });
  assert.deepEqual([chart.key, tape], ["", []]);
});

test("missed trades are counted", () => {
  const lagged: Message = { type: "lagged", subscription: 2, sequence: 1, symbol: "btcusdt", first_id: 31, last_id: 40, count: 10, fetch: "/" };
  assert.equal(shown(messages(lagged)).delivery.missed, 10);
});

test("a sequence that is left out is noticed, and candles that it may have told are asked for", () => {
  const { chart, breaks, delivery } = shown(messages(moved(1, candle(2, 31)), moved(3, candle(3, 33))));
  assert.deepEqual([breaks - chart.breaks, delivery.skipped], [1, 1]);
});

test("candles wait for the store alone, and prices for signal", () => {
  const beat = (candles: string, trades: string): Event => messages({ type: "heartbeat", time: iso(0), subscriptions: [{ subscription: 1, sequence: 1, state: candles }, { subscription: 2, sequence: 1, state: trades }] });
  const waits = (event: Event): boolean[] => [shown(event).chart.waiting, shown(event).waiting];
  assert.deepEqual([waits(beat("waiting", "live")), waits(beat("live", "waiting")), waits(beat("live", "live"))], [[true, false], [false, true], [false, false]]);
});

test("the tape has the newest trade first, each once", () => {
  const history = [trade(30, 3, 1), trade(29, 2, 1), trade(28, 1, 1)];
  const { tape } = shown(messages(trades(1, trade(30, 3, 1), trade(31, 4, 1))), { type: "tape", symbol: "btcusdt", trades: history }, messages(trades(2, trade(31, 4, 1), trade(32, 5, 1))));
  assert.deepEqual(tape.map((one) => one.trade_id), [32, 31, 30, 29, 28]);
});

test("delays and ages are told by the gateway's clock, whatever the clock of this machine says", () => {
  const beat = (afterMs: number, atMs: number): Message & { atMs: number } => ({ type: "heartbeat", time: iso(afterMs), subscriptions: [], atMs });
  const state = shown(messages(beat(1000, 1030), beat(2000, 2010), beat(3000, 3200), { ...trades(1, trade(31, 3400, 1)), atMs: 3450 }));
  assert.ok(Math.abs(nowMs(state, 2010) - NOON_MS - 2000) < 1, "the least delayed heartbeat counts");
  assert.ok(Math.abs(state.delivery.delaysMs[0]! - 40) < 1);
});

test("the feed is told as the mesh tells it, and as old when the page hears nothing", () => {
  const word = (state: State, atMs: number): string => condition(state, atMs).word;
  assert.equal(word(begin(readRoute("")), 0), "OFFLINE");
  for (const said of ["LIVE", "QUIET", "GAP", "BLOCKED", "SIM", "STALE", "OFFLINE"] as const) assert.equal(word(shown(status(said)), 1000), said);
  assert.equal(word(shown(status("LIVE")), 4500), "STALE");
  const waiting: Message = { type: "heartbeat", time: iso(0), subscriptions: [{ subscription: 2, sequence: 1, state: "waiting" }] };
  assert.equal(word(shown(status("SIM"), messages(waiting)), 1000), "STALE");
  assert.equal(word(shown(status("LIVE"), { type: "link", link: "lost", atMs: 0 }), 1), "OFFLINE");
});

test("the state of the mesh is kept up to date by what has changed", () => {
  const { status: whole } = status("SIM") as Extract<Event, { type: "status" }>;
  const feed = { symbol: "btcusdt", state: "GAP", message: "ids are missing" } as GetStatusResponse["symbols"][number];
  const state = shown(messages({ type: "snapshot", subscription: 9, sequence: 1, channel: "status", symbol: "", status: whole }, { type: "status", subscription: 9, sequence: 2, status: { symbols: [feed] } }));
  assert.deepEqual([condition(state, 1000).word, condition(state, 1000, "btcusdt").word], ["SIM", "GAP"]);
  assert.equal(reduce(state, messages({ type: "status", subscription: 9, sequence: 3, status: { state: "STALE" } })).status!.symbols.length, 1);
});

test("the coverage that is looked at is kept up to date, and no other", () => {
  const whole = { symbol: "btcusdt", complete: true, stored: 5, minutes: [] } as unknown as GetCoverageResponse;
  const begun = (symbol: string): Message => ({ type: "snapshot", subscription: 9, sequence: 1, channel: "coverage", symbol, coverage: { ...whole, symbol } });
  const update: Message = { type: "coverage", subscription: 9, sequence: 2, symbol: "btcusdt", coverage: { stored: 7 } };
  const follows: Event = { type: "following", channel: "coverage", subscription: 9 };
  assert.deepEqual(shown(follows, messages(begun("btcusdt"), update)).coverage, { ...whole, stored: 7 });
  assert.equal(shown(follows, messages(begun("ethusdt"), update)).coverage, null);
  assert.equal(shown(messages(begun("btcusdt"), update)).coverage, null, "it was left");
});

test("a table's line is of the last minutes and the price of now, and a coin without a candle has none", () => {
  const tick: Message = { type: "ticks", subscription: 3, sequence: 1, symbol: "btcusdt", first_id: 1, last_id: 1, ticks: [{ ...trade(1, 0, 100), signals: {} }] };
  const close = Array.from({ length: 60 }, (_, at) => at);
  const { coins: found } = shown(messages(tick), { type: "past", summaries: [{ symbol: "btcusdt", close, day_open: 80 }, { symbol: "unknown", close, day_open: null }] });
  const coin = found.get("btcusdt")!;
  assert.deepEqual([coin.dayAgo, coin.spark, found.size], [80, [...close.slice(1), 100], 1]);
});

test("the calendar shows the day that was asked for last, and days end with the hour of now", () => {
  const start = iso(-2 * 86_400_000);
  const answer = (daysBack: number): Event => ({ type: "coverage", daysBack, coverage: { symbol: "btcusdt", minutes: [{ start_time: start, state: "VERIFIED" }] } as unknown as GetCoverageResponse, candles: [candle(0, 10)] });
  const back = shown(answer(0), { type: "calendar", daysBack: 2 });
  assert.equal(back.day, null, "what is shown is of no other day");
  assert.equal(reduce(back, answer(1)), back);
  assert.deepEqual(reduce(back, answer(2)).day!.minutes.map((one) => one.start_time), [start]);
  assert.equal(reduce(back, { type: "calendar", daysBack: -1 }).daysBack, 0);
  assert.deepEqual([dayBegins(NOON_MS + 59, 0), dayBegins(NOON_MS - 1, 2)], [NOON_MS - 23 * 3_600_000, NOON_MS - 72 * 3_600_000]);
});

test("the age of a price counts up while it is old", () => {
  const tick: Message = { type: "ticks", subscription: 3, sequence: 1, symbol: "btcusdt", first_id: 1, last_id: 1, ticks: [{ ...trade(1, 0, 100), signals: {} }] };
  const beat: Message = { type: "heartbeat", time: iso(1000), subscriptions: [] };
  const state = shown(status("STALE"), messages(beat, tick));
  assert.deepEqual([condition(state, 2000).ageMs, condition(state, 3000).ageMs], [2000, 3000]);
});

test("an alert comes once, when its price does", () => {
  const tick = (sequence: number, price: number): Message => ({ type: "ticks", subscription: 3, sequence, symbol: "btcusdt", first_id: 1, last_id: 1, ticks: [{ ...trade(sequence, 0, price), signals: {} }] });
  const beat: Message = { type: "heartbeat", time: iso(1000), subscriptions: [] };
  const waits = shown({ type: "alert", symbol: "btcusdt", kind: "above", value: 100, windowS: 60 }, messages(beat, tick(1, 100)));
  assert.equal(waits.alerts[0]!.firedMs, null);
  const came = reduce(waits, messages(tick(2, 100.01)));
  assert.equal(came.alerts[0]!.firedMs, NOON_MS + 1000);
  assert.equal(reduce(came, messages(tick(3, 200))).alerts, came.alerts);
});

test("alerts of another tab take the place of these, and a move goes on from what was seen", () => {
  const wish = { type: "alert", symbol: "btcusdt", kind: "move", value: 5, windowS: 60 } as const;
  const [one, other] = shown(wish, { ...wish, value: 7 }, messages({ type: "heartbeat", time: iso(0) } as Message, trades(1, trade(31, 0, 100))), { type: "clock", atMs: 2000 }).alerts;
  assert.ok(one!.trail.length > 0);
  const again = reduce(shown(), { type: "alerts", alerts: [{ ...one!, trail: [] }] });
  assert.deepEqual(again.alerts.map(({ trail }) => trail), [[]]);
  const both = reduce({ ...shown(), alerts: [one!, other!] }, { type: "alerts", alerts: [{ ...one!, trail: [] }, { ...other!, value: 9, trail: [] }] });
  assert.deepEqual(both.alerts.map(({ value, trail }) => [value, trail.length]), [[5, one!.trail.length], [9, 0]]);
});

test("an alert for silence comes with the clock", () => {
  const tick: Message = { type: "ticks", subscription: 3, sequence: 1, symbol: "btcusdt", first_id: 1, last_id: 1, ticks: [{ ...trade(1, 0, 100), signals: {} }] };
  const beat: Message = { type: "heartbeat", time: iso(1000), subscriptions: [] };
  const state = shown({ type: "alert", symbol: "btcusdt", kind: "stale", value: 5, windowS: 60 }, messages(beat, tick));
  assert.equal(reduce(state, { type: "clock", atMs: 4900 }).alerts[0]!.firedMs, null);
  assert.notEqual(reduce(state, { type: "clock", atMs: 5100 }).alerts[0]!.firedMs, null);
});

test("how long messages wait to be drawn is kept of the last hundred drawings", () => {
  const drawn = Array.from({ length: 120 }, (_, at): Event => ({ type: "drawn", afterMs: at }));
  const { drawnMs } = shown(...drawn).delivery;
  assert.deepEqual([drawnMs.length, drawnMs[0], drawnMs.at(-1)], [100, 20, 119]);
});

test("candles of another coin or interval are never shown under the name of this one", () => {
  const bars = (route: Partial<State["route"]>): number => shown({ type: "route", route }).chart.bars.length;
  assert.deepEqual([bars({ interval: "5m" }), bars({ symbol: "ethusdt" }), bars({ view: "status" })], [0, 0, 3]);
});

test("what another run of the mesh tells takes the place of all before: its ids are lower, and it is later", () => {
  const tape: Event = { type: "tape", symbol: "btcusdt", trades: [trade(30, 170_000, 1)] };
  const later = trade(2, 400_000, 5);
  const live = shown(tape, messages(trades(1, later)));
  assert.deepEqual([live.tape, live.chart.key, live.breaks - live.chart.breaks], [[later], "", 1]);
  const asked = shown(tape, { type: "tape", symbol: "btcusdt", trades: [later] });
  assert.deepEqual([asked.tape, asked.chart.key], [[later], ""]);
  const epoch = shown(tape, messages(trades(1, { ...later, epoch: 1 })));
  assert.deepEqual([epoch.tape.length, epoch.chart.bars.length], [2, 3], "a new epoch goes on");
  const repeated = shown(tape, messages(trades(1, trade(29, 170_400, 1))));
  assert.deepEqual(repeated.tape.map((one) => one.trade_id), [30]);
});

test("silence while the page slept is none of the coin's", () => {
  const tick: Message = { type: "ticks", subscription: 3, sequence: 1, symbol: "btcusdt", first_id: 1, last_id: 1, ticks: [{ ...trade(1, 0, 100), signals: {} }] };
  const beat = (afterMs: number, atMs: number): Message & { atMs: number } => ({ type: "heartbeat", time: iso(afterMs), subscriptions: [], atMs });
  const waits = shown({ type: "alert", symbol: "btcusdt", kind: "stale", value: 5, windowS: 60 }, messages(beat(1000, 1000), tick), { type: "clock", atMs: 2000 });
  const clock = (state: State, atMs: number): State => reduce(state, { type: "clock", atMs });
  const [hourMs, came] = [3_600_000, (state: State): boolean => state.alerts[0]!.firedMs !== null];
  const frozen = clock(waits, hourMs);
  assert.deepEqual([came(frozen), came(clock(clock(frozen, hourMs + 1000), hourMs + 6000))], [false, true]);
  const suspended = clock(reduce(waits, messages(beat(hourMs, 3000))), 3500); // the page's own clock stood still
  assert.deepEqual([came(suspended), came(clock(suspended, 9000))], [false, true]);
});
