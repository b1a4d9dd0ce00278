// What the page does beside drawing: asks, subscribes, and tells the state what came of it.

import { admitted, get, Link, Lost, Refused, token } from "./gateway.ts";
import { INTERVALS } from "./route.ts";
import { chartKey, dayBegins, type Event, type Followed, nowMs, sessionOf, SILENCE_MS, type State } from "./state.ts";

const COINS_A_SUBSCRIPTION = 64;
const SIGNALS = ["open", "high", "low", "volume", "vwap", "trade_rate"];
const PAGE = 1000;
/** A mesh that has just begun has few candles of a minute: then those of a second are shown, unless others are asked for. */
const FEW = 15;
const FEW_SECONDS = 300;
/** How often a second the tape is told: more is not seen, and each message costs the gateway and this page. */
const TAPE_RATE = 10;
/** How often a second newest prices come: of coins whose rows are seen or that have alerts, and of all. */
const PRICES = { fast: 2, slow: 0.2 } as const;
/** How long the tab may be hidden before nothing is followed that only eyes need. */
const HIDDEN_S = 5;
const MINUTE_MS = 60_000;
const NOTICED_MS = 5000;

interface Prices {
  readonly symbols: string;
  readonly numbers: number[];
}

const NO_PRICES: Readonly<Record<keyof typeof PRICES, Prices>> = { fast: { symbols: "", numbers: [] }, slow: { symbols: "", numbers: [] } };

export class Effects {
  readonly #link: Link;
  /** What is being loaded, so that it is loaded once. */
  readonly #loading = new Map<string, Promise<void>>();
  /** What is followed on each channel, or is about to be. */
  readonly #followed: Record<Followed, string> = { candles: "", trades: "", coverage: "" };
  /** The subscriptions of newest prices: of which coins, and their numbers. */
  #prices = NO_PRICES;
  /** Whether nobody has seen the page for a while: then only alerts are watched. */
  #rests = false;
  #hiddenS = 0;
  /** Those whose session was asked for. */
  readonly #quiet = new Set<string>();
  /** The coin and the days back whose minutes are known. */
  #minutesOf = "";
  /** Whether somebody has asked for an interval. */
  #asked = new URLSearchParams(location.search).has("interval");
  #seconds = 0;
  /** When the coins were asked for because the mesh seemed to follow others. */
  #noticedMs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly state: () => State,
    readonly dispatch: (event: Event) => void,
  ) {
    this.#link = new Link({
      opened: () => {
        this.#prices = NO_PRICES;
        dispatch({ type: "link", link: "open", atMs: performance.now() });
        this.#link.ping();
        void this.#try("status", this.#link.subscribe({ channel: "status" }));
        if (state().selected === "") void this.selected(); // a gateway that just starts, or wanted a token, did not say
        this.show();
        this.#subscribe();
      },
      received: (received) => {
        const before = state().status;
        dispatch({ type: "messages", received });
        if (state().status !== before) this.#noticeCoins();
        if (state().chart.breaks < state().breaks) this.show();
      },
      closed: (reason) => {
        void this.#try("live trades", admitted());
        if (state().link !== "refused") dispatch({ type: "link", link: "lost", problem: reason, atMs: performance.now() });
      },
    });
  }

  /** Begin; resolves when the first candles are there, or cannot be had. */
  async start(): Promise<void> {
    this.#link.open();
    this.show();
    const selected = this.selected(); // the document has asked for it before this runs
    void this.#coins();
    setInterval(() => this.#everySecond(), 1000);
    setInterval(() => this.#link.ping(), 5000);
    setInterval(() => {
      if (this.#rests) return;
      void this.#past();
      if (this.state().status !== null) this.#noticeCoins();
    }, MINUTE_MS);
    if (this.state().route.symbol === "") await selected;
    const { route } = this.state();
    if (route.symbol !== "") await this.#candles(chartKey(route));
  }

  /** Load what the coin and interval that are shown need, and follow them. */
  show(): void {
    const { route, link, chart, breaks, coins, following } = this.state();
    const { symbol, interval, view } = route;
    if (symbol === "" || this.#rests) return;
    const key = chartKey(route);
    if (chart.key !== key || chart.breaks < breaks) void this.#candles(key);
    if (link !== "open" || (coins.size > 0 && !coins.has(symbol))) return; // the history of any coin can be looked at
    if (this.#followed.candles !== key || following.candles === 0) void this.#follow("candles", key, async () => ({ symbols: [symbol], interval }));
    if (view !== "coverage") this.#leave("coverage");
    else if (this.#followed.coverage !== symbol || following.coverage === 0) void this.#follow("coverage", symbol, async () => ({ symbols: [symbol] }));
    if (this.#followed.trades === symbol && following.trades !== 0) return;
    void this.#follow("trades", symbol, async () => {
      const trades = await get("/api/history", { symbol, page_size: 100 });
      this.dispatch({ type: "tape", symbol, trades });
      const [last] = trades;
      return { symbols: [symbol], rate: TAPE_RATE, ...(last === undefined ? {} : { resume_from: { [symbol]: { trade_id: last.trade_id, epoch: last.epoch, venue: last.venue } } }) };
    });
  }

  /** Ask for the last candles: for those since the ones that are known, or for a page. */
  #candles(key: string): Promise<void> {
    return this.#once(`candles ${key}`, async () => {
      const { chart, breaks, route } = this.state();
      const { symbol, interval } = route;
      if (chart.key === key && !Number.isNaN(chart.wholeTo)) {
        const start_time = iso((chart.wholeTo - 4 * INTERVALS[interval]) * 1000);
        const candles = await get("/api/candles", { symbol, interval, open: true, order: "asc", start_time, page_size: PAGE });
        if (candles.length < PAGE) return this.dispatch({ type: "candles", key, candles, breaks, whole: false });
      }
      const newest = { symbol, open: true, order: "desc" } as const;
      // Where nobody has asked for an interval, what is shown of a mesh that has just begun is asked for at the same time.
      const seconds = this.#asked ? null : get("/api/candles", { ...newest, interval: "1s", page_size: FEW_SECONDS }).catch(() => null);
      const candles = await get("/api/candles", { ...newest, interval, page_size: PAGE }).catch((problem: unknown) => {
        // Of what is no symbol there are none: to ask again each second would change nothing.
        if (problem instanceof Refused && problem.status === 400) this.dispatch({ type: "candles", key, candles: [], breaks, whole: true });
        throw problem;
      });
      const few = candles.length < FEW && !this.#asked;
      this.#asked = true;
      if (few && chartKey(this.state().route) === key) {
        const found = await seconds;
        this.dispatch({ type: "route", route: { interval: "1s" }, itself: true });
        if (found !== null) this.dispatch({ type: "candles", key: chartKey(this.state().route), candles: found, breaks, whole: true });
      } else this.dispatch({ type: "candles", key, candles, breaks, whole: true });
    });
  }

  /** Follow a channel in place of what was followed on it. */
  #follow(channel: Followed, what: string, request: () => Promise<object>): Promise<void> {
    this.#followed[channel] = what;
    return this.#once(`${channel} of ${what}`, async () => {
      const before = this.state().following[channel];
      this.dispatch({ type: "following", channel, subscription: 0 });
      if (before !== 0) this.#link.unsubscribe(before);
      const number = await this.#link.subscribe({ channel, ...(await request()) });
      if (this.#followed[channel] === what) this.dispatch({ type: "following", channel, subscription: number });
      else this.#link.unsubscribe(number);
    });
  }

  /** Follow a channel no longer. */
  #leave(channel: Followed): void {
    this.#followed[channel] = "";
    const number = this.state().following[channel];
    if (number === 0) return;
    this.#link.unsubscribe(number);
    this.dispatch({ type: "following", channel, subscription: 0 });
  }

  /** Load the candles before those that are known. */
  older(): Promise<void> {
    const { chart, route } = this.state();
    const [first] = chart.bars;
    if (first === undefined || chart.exhausted || chart.key !== chartKey(route)) return Promise.resolve();
    return this.#once("older", async () => {
      const { symbol, interval } = route;
      const query = { symbol, interval, order: "desc" as const, end_time: iso(first.time * 1000), page_size: PAGE };
      const candles = await get("/api/candles", query);
      this.dispatch({ type: "older", key: chart.key, candles });
    });
  }

  /** Load the coverage of the coin, and what is known of the minutes of the day that the calendar shows. */
  coverage(): Promise<void> {
    const { route, daysBack } = this.state();
    const { symbol } = route;
    this.#minutesOf = "";
    const now = this.#nowMs();
    if (Number.isNaN(now) || symbol === "") return Promise.resolve();
    return this.#once(`coverage ${symbol} ${daysBack}`, async () => {
      const [begin, end] = [dayBegins(now, daysBack), dayBegins(now, daysBack - 1)];
      const times = { symbol, start_time: iso(begin), end_time: iso(end) };
      const query = { ...times, interval: "1m", open: true, page_size: PAGE };
      const [coverage, first] = await Promise.all([get("/api/coverage", times), get("/api/candles", query)]).catch((problem: unknown) => {
        if (problem instanceof Refused && problem.status === 400) this.#minutesOf = `${symbol} ${daysBack}`; // as of candles
        throw problem;
      });
      const last = first.at(-1);
      const more = first.length < PAGE || last === undefined ? [] : await get("/api/candles", { ...query, start_time: iso(Date.parse(last.time ?? "") + MINUTE_MS) });
      this.dispatch({ type: "coverage", daysBack, coverage, candles: [...first, ...more] });
      this.#minutesOf = `${symbol} ${daysBack}`;
    });
  }

  /** The gateway's time; NaN until it is known. */
  #nowMs(): number {
    const now = nowMs(this.state(), performance.now());
    return Number.isNaN(now) ? Date.parse(this.state().status?.time ?? "") : now;
  }

  /** Ask which coin is selected. */
  selected(): Promise<void> {
    return this.#once("selected", async () => {
      const { symbol: selected } = await get("/api/symbol");
      this.dispatch({ type: "selected", selected });
      if (this.state().route.symbol === "") this.dispatch({ type: "route", route: { symbol: selected }, itself: true });
    });
  }

  /** Ask how the mesh is, with what its services report of themselves: the subscription tells only what changes. */
  #status(): Promise<void> {
    return this.#once("status", async () => this.dispatch({ type: "status", status: await get("/api/status") }));
  }

  /** Load the coins, where the mesh follows one that is not known, or one no longer that is; of one that stays unclear now and then. */
  #noticeCoins(): void {
    const { coins, status, feeds } = this.state();
    const added = status!.symbols.some(({ symbol }) => !coins.has(symbol));
    const gone = feeds.size > 0 && [...coins.keys()].some((symbol) => !feeds.has(symbol));
    if (coins.size > 0 && !added && !gone) return;
    if (coins.size > 0 && performance.now() - this.#noticedMs < NOTICED_MS) return;
    this.#noticedMs = performance.now();
    void this.#coins();
  }

  #coins(): Promise<void> {
    return this.#once("coins", async () => {
      const [coins, instruments] = await Promise.all([get("/api/coins"), get("/api/instruments", { page_size: 1000 })]);
      const known = new Set(instruments.instruments.map(({ symbol }) => symbol));
      // A venue lists more than a page of them: those that are followed are asked for one by one.
      const rest = coins.filter(({ symbol, followed }) => followed && !known.has(symbol));
      const found = await Promise.all(rest.map(({ symbol }) => get("/api/instruments", { q: symbol, page_size: 10 })));
      this.dispatch({ type: "coins", coins, instruments: [instruments, ...found].flatMap((page) => page.instruments) });
      this.#subscribe();
      void this.#past();
    });
  }

  /** Subscribe to the newest prices: twice a second of what is seen or has an alert, now and then of the others, while somebody looks. */
  #subscribe(): void {
    const { link, coins, alerts, rows, route } = this.state();
    if (link !== "open") return;
    const watched = alerts.filter((alert) => alert.firedMs === null).map(({ symbol }) => symbol);
    const seen = this.#rests ? [] : [route.symbol, ...(route.view === "market" ? rows : [])];
    const fast = [...new Set([...watched, ...seen])].filter((symbol) => coins.has(symbol)).toSorted();
    const slow = this.#rests || fast.length === coins.size ? [] : [...coins.keys()];
    this.#price("fast", fast);
    this.#price("slow", slow);
  }

  #price(which: keyof typeof PRICES, wanted: readonly string[]): void {
    const before = this.#prices[which];
    if (before.symbols === wanted.join()) return;
    const now: Prices = { symbols: wanted.join(), numbers: [] };
    this.#prices = { ...this.#prices, [which]: now };
    for (const number of before.numbers) this.#link.unsubscribe(number);
    for (let at = 0; at < wanted.length; at += COINS_A_SUBSCRIPTION) {
      const request = { channel: "ticks", symbols: wanted.slice(at, at + COINS_A_SUBSCRIPTION), fields: SIGNALS, mode: "newest", rate: PRICES[which] };
      void this.#try("prices", this.#link.subscribe(request).then((number) => void (this.#prices[which] === now ? now.numbers.push(number) : this.#link.unsubscribe(number))));
    }
  }

  /** Follow what eyes need, or no longer: a tab that nobody sees costs the mesh nothing but its alerts. */
  #rest(rests: boolean): void {
    if (this.#rests === rests) return;
    this.#rests = rests;
    this.#subscribe();
    if (rests) for (const channel of ["candles", "trades", "coverage"] as const) this.#leave(channel);
    else {
      this.show();
      void this.selected();
    }
  }

  /** Begin again, as soon as somebody looks. */
  seen(): void {
    this.#hiddenS = 0;
    this.#rest(false);
  }

  /** Learn of all coins their last hour and their price a day ago. */
  #past(): Promise<void> {
    return this.#once("past", async () => this.dispatch({ type: "past", summaries: (await get("/api/summaries")).summaries }));
  }

  /** Ask for the sessions of coins that no trade has told of, one after the other: of one that has not traded there is none. */
  #sessions(): Promise<void> {
    return this.#once("sessions", async () => {
      for (const [symbol, { session }] of this.state().coins) {
        if (session !== null || this.#quiet.has(symbol)) continue;
        this.#quiet.add(symbol);
        const stats = await this.#try("statistics", get("/api/stats", { symbol }));
        if (stats !== undefined) this.dispatch({ type: "session", symbol, session: sessionOf(stats) });
      }
    });
  }

  #everySecond(): void {
    const atMs = performance.now();
    this.dispatch({ type: "clock", atMs });
    const { link, heardMs, route } = this.state();
    if (link === "open" && atMs - heardMs > 2 * SILENCE_MS) this.#link.replace();
    this.#hiddenS = document.hidden ? this.#hiddenS + 1 : 0;
    this.#rest(this.#hiddenS > HIDDEN_S);
    this.#subscribe();
    if (link !== "open" || this.#rests) return;
    this.show();
    this.#seconds++;
    if (this.#seconds % 10 === 0) void this.selected();
    if (this.#seconds % 5 === 0) void this.#sessions();
    if (route.view === "status" && this.#seconds % 5 === 0) void this.#status();
    if (route.view === "coverage" && (this.#minutesOf !== `${route.symbol} ${this.state().daysBack}` || this.#seconds % 60 === 0)) void this.coverage();
  }

  #once(name: string, load: () => Promise<void>): Promise<void> {
    const known = this.#loading.get(name);
    if (known !== undefined) return known;
    const asked = Promise.resolve().then(() => this.#try(name, load())).finally(() => this.#loading.delete(name));
    this.#loading.set(name, asked);
    return asked;
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
