// What the page does beside drawing: asks, subscribes, and tells the state what came of it.

import { admitted, get, Link, Lost, Refused, token } from "./gateway.ts";
import { begins } from "./candles.ts";
import { INTERVALS } from "./route.ts";
import { chartKey, type Event, sessionOf, SILENCE_MS, type State } from "./state.ts";

const COINS_A_SUBSCRIPTION = 64;
const SIGNALS = ["open", "high", "low", "volume", "vwap", "trade_rate"];
const PAGE = 1000;
/** A mesh that has just begun has few candles of a minute: then those of a second are shown, unless others are asked for. */
const FEW = 15;
const MINUTE_MS = 60_000;

export class Effects {
  readonly #link: Link;
  /** Those whose newest price is subscribed to. */
  #subscribed = new Set<string>();
  /** What is being loaded, so that it is loaded once. */
  readonly #loading = new Set<string>();
  #loads = 0;
  /** Whether somebody has asked for an interval. */
  #asked = new URLSearchParams(location.search).has("interval");
  #seconds = 0;

  constructor(
    readonly state: () => State,
    readonly dispatch: (event: Event) => void,
  ) {
    this.#link = new Link({
      opened: () => {
        this.#subscribed.clear();
        dispatch({ type: "link", link: "open", atMs: performance.now() });
        this.#link.ping();
        void this.load();
        void this.#learn();
      },
      received: (received) => dispatch({ type: "messages", received }),
      closed: (reason) => {
        void this.#try("live trades", admitted());
        if (state().link !== "refused") dispatch({ type: "link", link: "lost", problem: reason, atMs: performance.now() });
      },
    });
  }

  start(): void {
    void this.#learn();
    this.#link.open();
    setInterval(() => this.#everySecond(), 1000);
    setInterval(() => void this.#learn(), 2000);
    setInterval(() => this.#link.ping(), 5000);
    setInterval(() => void this.#past(), 5 * MINUTE_MS);
  }

  /** Load the candles of the coin that is shown, then follow its trades from the last one in them. */
  async load(): Promise<void> {
    const { route } = this.state();
    if (route.symbol === "") return;
    const load = ++this.#loads;
    const key = chartKey(route);
    const { symbol, interval } = route;
    const fetched = await this.#try("candles", get("/api/candles", { symbol, interval, open: true, order: "desc", page_size: PAGE }));
    if (fetched === undefined || load !== this.#loads) return;
    const few = fetched.length < FEW && !this.#asked;
    this.#asked = true;
    if (few) return this.dispatch({ type: "route", route: { interval: "1s" }, itself: true });
    const old = this.state().following;
    this.dispatch({ type: "following", subscription: 0 });
    if (old !== 0) this.#link.unsubscribe(old);
    this.dispatch({ type: "candles", key, candles: fetched, exhausted: fetched.length === 0 });
    const place = this.state().chart.place;
    const after = place === null ? {} : { resume_from: { [symbol]: { trade_id: place.id, epoch: place.epoch } } };
    void this.#tape(symbol);
    const { coins } = this.state();
    if (coins.size > 0 && !coins.has(symbol)) return; // its history can be looked at
    const number = await this.#try("trades", this.#link.subscribe({ channel: "trades", symbols: [symbol], ...after }));
    if (number === undefined) return;
    if (load === this.#loads) this.dispatch({ type: "following", subscription: number });
    else this.#link.unsubscribe(number);
  }

  /** Load the candles before those that are known. */
  older(): Promise<void> {
    const { chart, route } = this.state();
    const first = chart.settled[0] ?? chart.live[0];
    if (first === undefined || chart.exhausted || chart.key !== chartKey(route)) return Promise.resolve();
    return this.#once("older", async () => {
      const { symbol, interval } = route;
      const query = { symbol, interval, order: "desc", end_time: iso(first.time * 1000), page_size: PAGE };
      const candles = await get("/api/candles", query);
      this.dispatch({ type: "older", key: chart.key, candles, exhausted: candles.length === 0 });
    });
  }

  /** Load the coverage of the coin, and which minutes of the last day have trades. */
  coverage(): Promise<void> {
    const { status, route } = this.state();
    const { symbol } = route;
    if (status === null || symbol === "") return Promise.resolve();
    return this.#once("coverage", async () => {
      const start = iso(Math.floor(Date.parse(status.time ?? "") / MINUTE_MS) * MINUTE_MS - 1440 * MINUTE_MS);
      const query = { symbol, interval: "1m", open: true, start_time: start, page_size: PAGE };
      const [coverage, first] = await Promise.all([get("/api/coverage", { symbol }), get("/api/candles", query)]);
      const last = first.at(-1);
      const more = first.length < PAGE || last === undefined ? [] : await get("/api/candles", { ...query, start_time: iso(Date.parse(last.time ?? "") + MINUTE_MS) });
      this.dispatch({ type: "coverage", coverage, candles: [...first, ...more] });
    });
  }

  async #learn(): Promise<void> {
    await this.#once("learn", async () => {
      const [status, { symbol: selected }] = await Promise.all([get("/api/status"), get("/api/symbol")]);
      this.dispatch({ type: "status", status, selected });
      if (this.state().route.symbol === "") this.dispatch({ type: "route", route: { symbol: selected }, itself: true });
      const { coins } = this.state();
      if (coins.size === 0 || status.symbols.some(({ symbol }) => !coins.has(symbol))) await this.#coins();
      if (this.state().link === "open") this.#subscribe();
    });
  }

  async #coins(): Promise<void> {
    const [coins, instruments] = await Promise.all([get("/api/coins"), get("/api/instruments", { page_size: 1000 })]);
    const known = new Set(instruments.instruments.map(({ symbol }) => symbol));
    // A venue lists more than a page of them: those that are followed are asked for one by one.
    const rest = coins.filter(({ symbol, followed }) => followed && !known.has(symbol));
    const found = await Promise.all(rest.map(({ symbol }) => get("/api/instruments", { q: symbol, page_size: 10 })));
    this.dispatch({ type: "coins", coins, instruments: [instruments, ...found].flatMap((page) => page.instruments) });
    void this.#past();
  }

  #subscribe(): void {
    const wanted = [...this.state().coins.keys()].filter((symbol) => !this.#subscribed.has(symbol));
    for (let at = 0; at < wanted.length; at += COINS_A_SUBSCRIPTION) {
      const symbols = wanted.slice(at, at + COINS_A_SUBSCRIPTION);
      for (const symbol of symbols) this.#subscribed.add(symbol);
      const request = { channel: "ticks", symbols, fields: SIGNALS, mode: "newest", rate: wanted.length > 100 ? 1 : 4 };
      void this.#try("prices", this.#link.subscribe(request));
    }
  }

  async #tape(symbol: string): Promise<void> {
    if (this.state().tape.length > 0) return;
    const trades = await this.#try("trades", get("/api/history", { symbol, page_size: 100 }));
    if (trades !== undefined && this.state().tape.length === 0) this.dispatch({ type: "tape", symbol, trades });
  }

  /** Learn of each coin its last hour and its price a day ago, one after the other: nobody waits for them. */
  #past(): Promise<void> {
    return this.#once("past", async () => {
      for (const symbol of this.state().coins.keys()) {
        const [stats, minutes, hours] = await Promise.all([
          this.#try("statistics", get("/api/stats", { symbol })), // of a coin that has not traded there are none
          get("/api/candles", { symbol, interval: "1m", open: true, order: "desc", page_size: 60 }),
          get("/api/candles", { symbol, interval: "1h", open: true, order: "desc", page_size: 25 }),
        ]);
        this.dispatch({ type: "past", symbol, session: stats ? sessionOf(stats) : null, spark: minutes.map((one) => one.close).reverse(), dayAgo: hours.at(-1)?.open ?? Number.NaN });
      }
    });
  }

  #everySecond(): void {
    const atMs = performance.now();
    this.dispatch({ type: "clock", atMs });
    const { link, heardMs, chart, coins, route, following } = this.state();
    if (link === "open" && atMs - heardMs > 2 * SILENCE_MS) this.#link.replace();
    if (link !== "open" || !coins.has(route.symbol)) return;
    if (chart.broken || chart.key !== chartKey(route) || following === 0) void this.#once("load", () => this.load());
    else void this.#settle();
    if (route.view === "coverage" && (this.state().coverage === null || this.#seconds++ % 5 === 0)) void this.coverage();
  }

  /** Ask for the candles that have ended since: the store has them as they will stay. */
  #settle(): Promise<void> {
    const { chart, route } = this.state();
    const [first, last] = [chart.live[0], chart.live.at(-1)];
    const now = Date.parse(this.state().status?.time ?? "") / 1000;
    const length = INTERVALS[route.interval];
    if (first === undefined || last === undefined || (last === first && begins(now, length) === first.time)) return Promise.resolve();
    return this.#once("settle", async () => {
      const { symbol, interval } = route;
      // The last ones once more: they have changed where trades came late or were repaired.
      const start_time = iso((first.time - 4 * length) * 1000);
      const candles = await get("/api/candles", { symbol, interval, start_time, order: "asc", page_size: PAGE });
      this.dispatch({ type: "closed", key: chart.key, candles });
    });
  }

  async #once(name: string, load: () => Promise<void>): Promise<void> {
    if (this.#loading.has(name)) return;
    this.#loading.add(name);
    await this.#try(name, load()).finally(() => this.#loading.delete(name));
  }

  /** What is refused is told; what cannot be reached shows as OFFLINE anyway. */
  async #try<T>(what: string, asked: Promise<T>): Promise<T | undefined> {
    try {
      return await asked;
    } catch (problem) {
      if (problem instanceof Lost) return undefined;
      if (!(problem instanceof Refused)) throw problem;
      if (problem.status === 401 || problem.status === 403) this.dispatch({ type: "link", link: "refused", problem: problem.message, atMs: performance.now() });
      else if (problem.status < 500 && problem.status !== 404) this.dispatch({ type: "notice", text: `${what}: ${problem.message}` });
      return undefined;
    }
  }

  /** Try again with another token. */
  admit(said: string): void {
    token.set(said);
    this.dispatch({ type: "link", link: "connecting", atMs: performance.now() });
    this.#link.replace();
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
