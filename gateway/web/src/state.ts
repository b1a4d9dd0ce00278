// Everything that the page knows, and how each event changes it. Pure: drawing and talking are elsewhere.
//
// Two clocks: `atMs` is the page's own, which never jumps (performance.now); all other times are the gateway's, which its
// heartbeats tell. The clock of the machine that shows the page is not asked.

import { type Alert, looked } from "./alerts.ts";
import type { Candle, Coin, GetCoverageResponse, GetStatusResponse, Instrument, Message, Minute, SubscriptionState, Summary, SymbolFeed, Tick, Trade } from "./api.ts";
import { type Bar, barOf, merged } from "./candles.ts";
import { places } from "./format.ts";
import type { Route } from "./route.ts";

export type Word = "LIVE" | "QUIET" | "STALE" | "GAP" | "BLOCKED" | "SIM" | "OFFLINE";

export interface CoinState {
  readonly symbol: string;
  readonly name: string;
  readonly status: string;
  /** Decimal places of a price and of a quantity. */
  readonly digits: number;
  readonly sizeDigits: number;
  /** NaN until there is one. */
  readonly price: number;
  readonly direction: -1 | 0 | 1;
  readonly tradedMs: number;
  /** Of the session; null while unknown. */
  readonly session: Readonly<Record<"open" | "high" | "low" | "volume" | "vwap" | "rate", number>> | null;
  /** The price a day ago, or the first one since; NaN while unknown. */
  readonly dayAgo: number;
  /** The closes of the last minutes, and the price of now as the last. */
  readonly spark: readonly number[];
}

export interface Chart {
  /** Whose candles these are: `btcusdt 1m`; empty while none are. */
  readonly key: string;
  readonly bars: readonly Bar[];
  /** Whether the store has no older ones. */
  readonly exhausted: boolean;
  /** The state's `breaks` when the last ones were asked for: where there are more by now, some may be missing. */
  readonly breaks: number;
  /** The beginning of the last bar before which none is missing, in seconds; NaN while there is none. */
  readonly wholeTo: number;
  /** Whether the store does not answer, as heartbeats say. */
  readonly waiting: boolean;
}

/** What reached this page, how late, and what did not. */
export interface Delivery {
  readonly trades: number;
  /** From the venue's time of a trade to this page, in ms; the last 500. */
  readonly delaysMs: readonly number[];
  /** There and back between page and gateway, in ms; the last 50. */
  readonly roundTripsMs: readonly number[];
  /** From a message's arrival until it is drawn, in ms; the last 100. */
  readonly drawnMs: readonly number[];
  /** Trades that the gateway did not send to this page. */
  readonly missed: number;
  /** How often the connection was lost. */
  readonly losses: number;
  /** How often a message of a subscription was missing. */
  readonly skipped: number;
}

export interface Notice {
  readonly id: number;
  readonly text: string;
}

export interface State {
  readonly route: Route;
  readonly link: "connecting" | "open" | "lost" | "refused";
  /** Why there is no link. */
  readonly problem: string;
  /** The gateway's time minus the page's own clock, in ms; null until it is known. */
  readonly offsetMs: number | null;
  /** When the gateway last sent anything, by the page's own clock. */
  readonly heardMs: number;
  /** When this page has last looked at the clock, and when it was seen to have slept before that, by its own clock. */
  readonly lookedMs: number;
  readonly awokeMs: number;
  /** The coins whose rows are seen: the others' prices need not be as new. */
  readonly rows: readonly string[];
  /** Whether signal's trades are missing, as heartbeats say. */
  readonly waiting: boolean;
  readonly status: GetStatusResponse | null;
  readonly feeds: ReadonlyMap<string, SymbolFeed>;
  readonly selected: string;
  readonly coins: ReadonlyMap<string, CoinState>;
  readonly chart: Chart;
  /** How often the subscription of the chart has begun, or has left something out. */
  readonly breaks: number;
  /** The last trades of the coin, newest first. */
  readonly tape: readonly Trade[];
  readonly coverage: GetCoverageResponse | null;
  /** How many days before the last 24 hours the calendar shows. */
  readonly daysBack: number;
  /** What is known of the day that the calendar shows: its compared minutes, and the beginnings in ms of those with trades; null while it is asked for. */
  readonly day: { readonly minutes: readonly Minute[]; readonly traded: ReadonlySet<number> } | null;
  readonly delivery: Delivery;
  readonly alerts: readonly Alert[];
  readonly notices: readonly Notice[];
  /** The last sequence of each subscription. */
  readonly sequences: Readonly<Record<number, number>>;
  /** The subscriptions of the coin that is shown; 0 while there is none. */
  readonly following: Readonly<Record<Followed, number>>;
}

/** The channels of the coin that is shown: for its chart, for its tape, and for its calendar while that is looked at. */
export type Followed = "candles" | "trades" | "coverage";

export interface Received {
  readonly message: Message;
  readonly atMs: number;
}

export type Event =
  /** `itself`: the page has chosen, and nobody goes back to what was before. */
  | { type: "route"; route: Partial<Route>; itself?: true }
  | { type: "link"; link: State["link"]; problem?: string; atMs: number }
  | { type: "messages"; received: readonly Received[] }
  | { type: "following"; channel: Followed; subscription: number }
  | { type: "selected"; selected: string }
  | { type: "status"; status: GetStatusResponse }
  | { type: "coins"; coins: readonly Coin[]; instruments: readonly Instrument[] }
  | { type: "past"; summaries: readonly Summary[] }
  | { type: "session"; symbol: string; session: CoinState["session"] }
  /** Asked for when there were so many `breaks`; `whole`: all that is known of the last ones, else those since some that are known. */
  | { type: "candles"; key: string; candles: readonly Candle[]; breaks: number; whole: boolean }
  | { type: "older"; key: string; candles: readonly Candle[] }
  | { type: "forget"; key: string }
  | { type: "tape"; symbol: string; trades: readonly Trade[] }
  | { type: "calendar"; daysBack: number }
  | { type: "coverage"; daysBack: number; coverage: GetCoverageResponse; candles: readonly Candle[] }
  | { type: "alert"; symbol: string; kind: Alert["kind"]; value: number; windowS: number }
  | { type: "alert removed"; id: number }
  /** Another tab has changed the alerts of this browser. */
  | { type: "alerts"; alerts: readonly Alert[] }
  | { type: "notice"; text: string }
  | { type: "notice seen"; id: number }
  | { type: "rows"; symbols: readonly string[] }
  | { type: "drawn"; afterMs: number }
  | { type: "clock"; atMs: number };

const NO_CHART: Chart = { key: "", bars: [], exhausted: false, breaks: 0, wholeTo: Number.NaN, waiting: false };
const NOT_FOLLOWING = { candles: 0, trades: 0, coverage: 0 };
const NOTHING_OF_THE_COIN = { tape: [], coverage: null, daysBack: 0, day: null };
const TAPE = 200;
/** More than so many bars are not kept while nobody looks at the first ones. */
export const MOST_BARS = 100_000;
/** A day of seconds, over which VWAP goes, and some. */
export const KEPT_BARS = 90_000;
const SPARK = 60;

export const chartKey = ({ symbol, interval }: Route): string => `${symbol} ${interval}`;

export function begin(route: Route, alerts: readonly Alert[] = []): State {
  return {
    route,
    link: "connecting",
    problem: "",
    offsetMs: null,
    heardMs: 0,
    lookedMs: 0,
    awokeMs: Number.NaN,
    rows: [],
    waiting: false,
    status: null,
    feeds: new Map(),
    selected: "",
    coins: new Map(),
    chart: NO_CHART,
    breaks: 0,
    tape: [],
    coverage: null,
    daysBack: 0,
    day: null,
    delivery: { trades: 0, delaysMs: [], roundTripsMs: [], drawnMs: [], missed: 0, losses: 0, skipped: 0 },
    alerts,
    notices: [],
    sequences: {},
    following: NOT_FOLLOWING,
  };
}

/** Return the state after an event; parts that the event does not touch stay the same objects. */
export function reduce(state: State, event: Event): State {
  switch (event.type) {
    case "route": {
      const route = { ...state.route, ...event.route };
      const other = route.symbol !== state.route.symbol;
      // Candles of another coin or interval are never shown as if they were of this one, however long these take.
      const chart = chartKey(route) === chartKey(state.route) ? state.chart : NO_CHART;
      return { ...state, route, chart, ...(other ? NOTHING_OF_THE_COIN : {}) };
    }
    case "link": {
      const lost = state.link === "open" && event.link !== "open";
      const delivery = lost ? { ...state.delivery, losses: state.delivery.losses + 1 } : state.delivery;
      const heardMs = event.link === "open" ? event.atMs : state.heardMs;
      return { ...state, link: event.link, problem: event.problem ?? "", delivery, heardMs, sequences: {}, following: NOT_FOLLOWING, waiting: false };
    }
    case "messages":
      return event.received.reduce(receive, state);
    case "following":
      return { ...state, following: { ...state.following, [event.channel]: event.subscription } };
    case "selected":
      return { ...state, selected: event.selected };
    case "status":
      return known(state, event.status);
    case "coins":
      return { ...state, coins: listed(state.coins, event.coins, event.instruments) };
    case "past": {
      const coins = new Map(state.coins);
      for (const { symbol, close, day_open } of event.summaries) {
        const coin = coins.get(symbol);
        if (coin === undefined) continue;
        const now = Number.isNaN(coin.price) ? [] : [coin.price];
        coins.set(symbol, { ...coin, dayAgo: day_open ?? Number.NaN, spark: [...close, ...now].slice(-SPARK) });
      }
      return { ...state, coins };
    }
    case "session":
      return withCoin(state, event.symbol, (coin) => ({ ...coin, session: coin.session ?? event.session }));
    case "candles": {
      if (event.key !== chartKey(state.route)) return state;
      const bars = inOrder(event.candles);
      const { chart } = state;
      const [first, last] = [bars[0], bars.at(-1)];
      // A page that was away keeps what it has, where the new candles reach back to it, and what has come since.
      const joined = chart.key === event.key && (!event.whole || (first !== undefined && first.time <= chart.wholeTo));
      const since = chart.key === event.key ? chart.bars.filter(({ time }) => first !== undefined && time >= first.time) : [];
      const known = joined ? chart : { ...NO_CHART, key: event.key, bars: since, exhausted: bars.length === 0 };
      return { ...state, chart: { ...known, bars: merged(known.bars, bars), breaks: event.breaks, wholeTo: last?.time ?? known.wholeTo } };
    }
    case "older":
      if (event.key !== state.chart.key) return state;
      return { ...state, chart: { ...state.chart, bars: merged(state.chart.bars, inOrder(event.candles)), exhausted: event.candles.length === 0 } };
    case "forget":
      if (event.key !== state.chart.key) return state;
      return { ...state, chart: { ...state.chart, bars: state.chart.bars.slice(-KEPT_BARS), exhausted: false } };
    case "tape":
      if (event.symbol !== state.route.symbol) return state;
      return restarted(state.tape, event.trades[0]) ? { ...anew(state), tape: event.trades } : { ...state, tape: longer(event.trades, state.tape.toReversed()) };
    case "coverage":
      if (event.coverage.symbol !== state.route.symbol || event.daysBack !== state.daysBack) return state;
      return { ...state, coverage: event.coverage, day: { minutes: event.coverage.minutes, traded: new Set(event.candles.map((candle) => Date.parse(candle.time ?? ""))) } };
    case "calendar":
      return { ...state, daysBack: Math.max(0, event.daysBack), day: null };
    case "alert": {
      const { type: _, ...wanted } = event;
      const id = Math.max(0, ...state.alerts.map((alert) => alert.id)) + 1;
      return { ...state, alerts: [...state.alerts, { id, ...wanted, firedMs: null, trail: [] }] };
    }
    case "alert removed":
      return { ...state, alerts: state.alerts.filter((alert) => alert.id !== event.id) };
    case "alerts":
      return { ...state, alerts: event.alerts.map((alert) => ({ ...alert, trail: state.alerts.find((one) => sameWish(one, alert))?.trail ?? [] })) };
    case "notice":
      return noticed(state, event.text);
    case "notice seen":
      return { ...state, notices: state.notices.filter((notice) => notice.id !== event.id) };
    case "rows":
      return { ...state, rows: event.symbols };
    case "drawn":
      return { ...state, delivery: { ...state.delivery, drawnMs: [...state.delivery.drawnMs.slice(-99), event.afterMs] } };
    case "clock": {
      const slept = state.lookedMs > 0 && event.atMs - state.lookedMs > ASLEEP_MS;
      return watched({ ...state, lookedMs: event.atMs, awokeMs: slept ? event.atMs : state.awokeMs }, event.atMs);
    }
  }
}

/** Whether two alerts wait for the same: then what one has seen so far does for the other. */
const sameWish = (one: Alert, other: Alert): boolean => (["id", "symbol", "kind", "value", "windowS"] as const).every((name) => one[name] === other[name]);

/** The gateway's time, by the page's own clock; NaN until it is known. */
export const nowMs = (state: State, atMs: number): number => (state.offsetMs === null ? Number.NaN : state.offsetMs + atMs);

/** A connection that says nothing for so long is in doubt: its heartbeat comes each second. */
export const SILENCE_MS = 4000;

/** A page that has not looked at the clock for so long was asleep: browsers let one that is hidden look once a minute. */
const ASLEEP_MS = 120_000;
/** A trade of a lower id than the one before is of another run if it is so much later; ids of one moment may be out of order. */
const ANEW_MS = 1000;

const [HOUR_MS, DAY_MS] = [3_600_000, 86_400_000];

/** When the day begins that the calendar shows, in ms: the last one ends with the hour of now. */
export const dayBegins = (nowMs: number, daysBack: number): number => Math.floor(nowMs / HOUR_MS + 1) * HOUR_MS - (daysBack + 1) * DAY_MS;

export interface Condition {
  readonly word: Word;
  readonly why: string;
  /** Since when prices are old, in ms; null while they are not. */
  readonly ageMs: number | null;
}

/** How the feed is, as far as this page can tell; of one coin where its symbol is given. */
export function condition(state: State, atMs: number, symbol = ""): Condition {
  const silentMs = atMs - state.heardMs;
  const traded = Math.max(...(symbol === "" ? [...state.coins.values()] : [state.coins.get(symbol)]).map((coin) => coin?.tradedMs || 0));
  const now = nowMs(state, atMs);
  const ageMs = traded > 0 && !Number.isNaN(now) ? now - traded : state.heardMs > 0 ? silentMs : null;
  if (state.link === "connecting" && state.heardMs === 0) return { word: "OFFLINE", why: "connecting to the gateway", ageMs: null };
  if (state.link !== "open") return { word: "OFFLINE", why: state.problem || "no connection to the gateway; trying again", ageMs };
  if (silentMs > SILENCE_MS) return { word: "STALE", why: "the gateway has fallen silent", ageMs };
  if (state.status === null) return { word: "OFFLINE", why: "asking how the mesh is", ageMs: null };
  const { state: said, message } = toldOf(state.status, state.feeds.get(symbol));
  if (state.waiting && (said === "LIVE" || said === "QUIET" || said === "SIM")) return { word: "STALE", why: "no trades come from signal", ageMs };
  const word = said === "UNSPECIFIED" ? "OFFLINE" : said;
  return { word, why: message, ageMs: isOld(word) ? ageMs : null };
}

/** Whether prices are old in this condition, and are shown so. */
export const isOld = (word: Word): boolean => word === "STALE" || word === "OFFLINE" || word === "BLOCKED" || word === "GAP";

function toldOf(status: GetStatusResponse, feed: SymbolFeed | undefined): Pick<SymbolFeed, "state" | "message"> {
  // What is wrong with all is wrong with each.
  return feed === undefined || status.state === "OFFLINE" || status.state === "BLOCKED" || status.state === "STALE" ? status : feed;
}

/** Take how the mesh is. */
function known(state: State, status: GetStatusResponse): State {
  // Another venue's candles and trades have nothing to do with those before.
  const other = state.status !== null && state.status.venue !== status.venue;
  return { ...state, ...(other ? { ...NOTHING_OF_THE_COIN, chart: NO_CHART } : {}), status, feeds: new Map(status.symbols.map((feed) => [feed.symbol, feed])) };
}

function inOrder(candles: readonly Candle[]): Bar[] {
  return candles.map(barOf).sort((a, b) => a.time - b.time);
}

function receive(before: State, { message, atMs }: Received): State {
  const state = { ...before, heardMs: atMs };
  switch (message.type) {
    case "heartbeat": {
      const offsetMs = Date.parse(message.time ?? "") - atMs;
      const states = message.subscriptions ?? [];
      // The least delayed heartbeat is nearest to the truth; 0.05 ms a second lets the clocks drift apart.
      const offset = state.offsetMs === null || Math.abs(offsetMs - state.offsetMs) > 5000 ? offsetMs : Math.max(offsetMs, state.offsetMs - 0.05);
      // Delays that were measured by a clock that was this wrong say nothing.
      const wrong = state.offsetMs !== null && offset > state.offsetMs + 2;
      const awokeMs = state.offsetMs !== null && offset > state.offsetMs + ASLEEP_MS ? atMs : state.awokeMs; // its clock stood still
      const delivery = wrong ? { ...state.delivery, delaysMs: [] } : state.delivery;
      const { candles } = state.following;
      const waits = (one: SubscriptionState): boolean => one.state === "waiting";
      const chart = { ...state.chart, waiting: states.some((one) => waits(one) && one.subscription === candles) };
      return { ...state, offsetMs: offset, awokeMs, delivery, chart: chart.waiting === state.chart.waiting ? state.chart : chart, waiting: states.some((one) => waits(one) && one.subscription !== candles) };
    }
    case "ticks": {
      const tick = message.ticks?.at(-1);
      return tick === undefined ? state : counted(ticked(state, tick, atMs), message);
    }
    case "trades":
      return traded(counted(state, message), message.symbol, message.trades ?? [], atMs);
    case "candles":
      return charted(counted(state, message), message);
    case "snapshot": {
      const tick = message.ticks?.at(-1);
      if (tick !== undefined) return counted(ticked(state, tick, atMs), message);
      if (message.status != null) return counted(known(state, message.status), message);
      if (message.coverage != null) return counted(covered(state, message.subscription, message.coverage), message);
      return counted(message.candles === undefined ? state : charted(broken(state, message.subscription), message), message);
    }
    case "lagged": {
      const delivery = { ...state.delivery, missed: state.delivery.missed + message.count };
      return counted({ ...state, delivery }, message);
    }
    case "pong": {
      const roundTripsMs = [...state.delivery.roundTripsMs.slice(-49), atMs - Number(message.id)];
      return { ...state, delivery: { ...state.delivery, roundTripsMs } };
    }
    case "error":
      return message.subscription == null ? noticed(state, message.message) : ended(state, message.subscription);
    case "coverage":
      return counted(state.coverage === null ? state : covered(state, message.subscription, { ...state.coverage, ...message.coverage }), message);
    case "status":
      return counted(state.status === null ? state : known(state, { ...state.status, ...message.status }), message);
    case "subscribed":
    case "unsubscribed":
      return state;
  }
}

/** Every message of a subscription has the next sequence: where it has not, one is missing. */
function counted(state: State, { subscription, sequence }: { subscription: number; sequence: number }): State {
  const last = state.sequences[subscription];
  const sequences = { ...state.sequences, [subscription]: sequence };
  if (last === undefined || sequence === last + 1) return { ...state, sequences };
  return broken({ ...state, sequences, delivery: { ...state.delivery, skipped: state.delivery.skipped + 1 } }, subscription);
}

function ticked(state: State, tick: Tick, atMs: number): State {
  const { signals, price } = tick;
  const after = withCoin(state, tick.symbol, (coin) => ({
    ...coin,
    ...priced(coin, price, Date.parse(tick.timestamp ?? "")),
    session: signals ? sessionOf(signals) : coin.session,
  }));
  return state.alerts.some((alert) => alert.symbol === tick.symbol) ? watched(after, atMs) : after;
}

/** The session as the signals after a trade tell it, or `/api/stats`. */
export function sessionOf(signals: Readonly<Record<string, unknown>>): NonNullable<CoinState["session"]> {
  const value = (name: string): number => (typeof signals[name] === "number" ? signals[name] : Number.NaN);
  return { open: value("open"), high: value("high"), low: value("low"), volume: value("volume"), vwap: value("vwap"), rate: value("trade_rate") };
}

function priced(coin: CoinState, price: number, tradedMs: number): Pick<CoinState, "price" | "direction" | "tradedMs" | "spark"> {
  const direction = price > coin.price ? 1 : price < coin.price ? -1 : coin.direction;
  const minutes = Math.floor(tradedMs / 60_000) - Math.floor(coin.tradedMs / 60_000);
  return { price, direction, tradedMs, spark: [...coin.spark.slice(minutes > 0 ? 1 - SPARK : 0, minutes > 0 ? undefined : -1), price] };
}

function traded(state: State, symbol: string, trades: readonly Trade[], atMs: number): State {
  if (symbol !== state.route.symbol || trades.length === 0) return state;
  const delays = trades.map((trade) => nowMs(state, atMs) - Date.parse(trade.timestamp ?? "")).filter((ms) => ms < 60_000);
  const delivery = {
    ...state.delivery,
    trades: state.delivery.trades + trades.length,
    delaysMs: Number.isNaN(delays[0]) ? state.delivery.delaysMs : [...state.delivery.delaysMs, ...delays].slice(-500),
  };
  const last = trades.at(-1)!;
  if (restarted(state.tape, last)) return traded(anew(state), symbol, trades, atMs);
  const after = withCoin(state, symbol, (coin) => ({ ...coin, ...priced(coin, last.price, Date.parse(last.timestamp ?? "")) }));
  return { ...after, delivery, tape: longer(state.tape, trades) };
}

/** Take what the subscription of the chart says of its candles. */
function charted(state: State, { subscription, symbol, candles = [] }: { subscription: number; symbol: string; candles?: readonly Candle[] }): State {
  const { chart } = state;
  if (subscription !== state.following.candles || candles.length === 0 || chart.key !== `${symbol} ${candles[0]!.interval}`) return state;
  return { ...state, chart: { ...chart, bars: merged(chart.bars, candles.map(barOf)) } };
}

/** Whether a trade is of another run of the mesh or its venue than those of the tape: it is later, and its id is lower. */
function restarted([last]: readonly Trade[], trade: Trade | undefined): boolean {
  if (last === undefined || trade === undefined) return false;
  const lower = trade.epoch < last.epoch || (trade.epoch === last.epoch && trade.trade_id < last.trade_id);
  return lower && Date.parse(trade.timestamp ?? "") > Date.parse(last.timestamp ?? "") + ANEW_MS;
}

/** Forget what is known of the coin: what comes now has nothing to do with it. */
const anew = (state: State): State => ({ ...state, tape: [], chart: NO_CHART, breaks: state.breaks + 1 });

/** Take what the subscription of the calendar says. */
const covered = (state: State, subscription: number, coverage: GetCoverageResponse): State => (subscription === state.following.coverage && coverage.symbol === state.route.symbol ? { ...state, coverage } : state);

/** Note that a subscription has begun or left something out: of the chart's, the candles since its last ones have to be asked for. */
function broken(state: State, subscription: number): State {
  if (subscription !== state.following.candles) return state;
  const { chart, breaks } = state;
  const wholeTo = chart.breaks === breaks ? (chart.bars.at(-1)?.time ?? Number.NaN) : chart.wholeTo;
  return { ...state, breaks: breaks + 1, chart: { ...chart, wholeTo } };
}

/** Note that the gateway has ended a subscription. */
function ended(state: State, subscription: number): State {
  const rest = Object.entries(state.following).map(([channel, number]) => [channel, number === subscription ? 0 : number]);
  return { ...state, following: Object.fromEntries(rest) as State["following"] };
}

/** Return the tape with later trades, which may overlap with it, at its front. */
function longer(tape: readonly Trade[], trades: readonly Trade[]): readonly Trade[] {
  const last = tape[0];
  const added = trades.filter((trade) => last === undefined || trade.epoch > last.epoch || (trade.epoch === last.epoch && trade.trade_id > last.trade_id));
  return [...added.slice(-TAPE).reverse(), ...tape].slice(0, TAPE);
}

function listed(known: State["coins"], coins: readonly Coin[], instruments: readonly Instrument[]): State["coins"] {
  const steps = new Map(instruments.map((one) => [one.symbol, one]));
  const unknown = { price: Number.NaN, direction: 0, tradedMs: Number.NaN, session: null, dayAgo: Number.NaN, spark: [] } as const;
  return new Map(
    coins
      .filter((coin) => coin.followed)
      .map(({ symbol, name, status }) => {
        const step = steps.get(symbol);
        const before = known.get(symbol);
        const digits = step === undefined ? (before?.digits ?? 2) : places(step.tick_size);
        const sizeDigits = step === undefined ? (before?.sizeDigits ?? 5) : places(step.step_size);
        return [symbol, { ...unknown, ...before, symbol, name, status, digits, sizeDigits }];
      }),
  );
}

function withCoin(state: State, symbol: string, change: (coin: CoinState) => CoinState): State {
  const coin = state.coins.get(symbol);
  return coin === undefined ? state : { ...state, coins: new Map(state.coins).set(symbol, change(coin)) };
}

function watched(state: State, atMs: number): State {
  const now = nowMs(state, atMs);
  const alerts = state.alerts.map((alert) => {
    const coin = state.coins.get(alert.symbol);
    if (coin === undefined || Number.isNaN(now)) return alert;
    const awokeMs = nowMs(state, state.awokeMs);
    const tradedMs = awokeMs > coin.tradedMs ? awokeMs : coin.tradedMs; // while it slept there may have been others
    return looked(alert, { nowMs: now, price: coin.price, tradedMs });
  });
  return alerts.every((alert, at) => alert === state.alerts[at]) ? state : { ...state, alerts };
}

function noticed(state: State, text: string): State {
  const id = (state.notices.at(-1)?.id ?? 0) + 1;
  return { ...state, notices: [...state.notices.slice(-3), { id, text }] };
}
