// The market: the coins, the one that is looked at, and its tape.

import { chartView } from "./chart.ts";
import { change, coinsView, dayChange } from "./coins.ts";
import { attribute, badge, h, text } from "./dom.ts";
import { compact, decimal, percent, span, way } from "./format.ts";
import { address } from "./gateway.ts";
import { type Interval, INTERVALS, type Overlay, OVERLAYS, type Pane, PANES } from "./route.ts";
import { condition, type Event, isOld, type State } from "./state.ts";
import { tapeView } from "./tape.ts";

const TITLES: Record<Overlay | Pane, string> = { sma: "SMA", ema: "EMA", vwap: "VWAP", bollinger: "Bollinger", rsi: "RSI", macd: "MACD" };

export interface Market {
  readonly element: HTMLElement;
  draw(state: State, atMs: number): void;
  recolour(): void;
  filter(): void;
}

/** Make the view; `select` asks to select the coin for everybody. */
export function marketView(dispatch: (event: Event) => void, older: () => void, select: () => void): Market {
  const coins = coinsView(
    (symbol) => dispatch({ type: "route", route: { symbol } }),
    (symbols) => dispatch({ type: "rows", symbols }),
  );
  const chart = chartView(older, (key) => dispatch({ type: "forget", key }));
  const tape = tapeView();
  const [name, symbol, price, why] = [h("h1"), h("span", { class: "symbol" }), h("output", { class: "price", "aria-live": "off" }, "–"), h("span", { class: "why" })];
  const state = badge();
  const everybody = h("button", { type: "button", class: "everybody", onclick: select });
  const facts = ["Session", "24 h", "High", "Low", "Volume", "VWAP", "Trades/s"].map((title) => [h("dt", {}, title), h("dd", {}, "–")] as const);
  const head = h("div", { class: "coin-head" }, h("div", { class: "coin-name" }, name, symbol, everybody), h("div", { class: "coin-price" }, price, state.element, why), h("dl", {}, ...facts.map((pair) => h("div", {}, ...pair))));
  const intervals = (Object.keys(INTERVALS) as Interval[]).map((interval) => h("button", { type: "button", "data-interval": interval, onclick: () => dispatch({ type: "route", route: { interval } }) }, interval));
  let now: State | null = null;
  const toggle = (one: Overlay | Pane): HTMLElement =>
    h("button", { type: "button", class: `toggle ${one}`, "data-toggle": one, onclick: () => switchOne(one) }, h("span", { class: "swatch", "aria-hidden": "true" }), TITLES[one]);
  const toggles = [...OVERLAYS, ...PANES].map(toggle);
  const download = h("details", { class: "download" }, h("summary", {}, "Download"));
  const links = (["candles", "trades"] as const).flatMap((what) => (["csv", "parquet"] as const).map((format) => ({ what, format, link: h("a", { href: "#", download: "" }, `${what === "candles" ? "Candles" : "Trades"}, ${format === "csv" ? "CSV" : "Parquet"}`) })));
  download.append(h("div", { class: "menu" }, h("small", {}, "what is seen now"), ...links.map(({ link }) => link)));
  download.addEventListener("toggle", aim);
  download.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    download.open = false;
    download.querySelector("summary")!.focus();
  });
  document.addEventListener("click", (event) => {
    if (!download.contains(event.target as Node)) download.open = false;
  });
  const bar = h("div", { class: "toolbar" }, h("div", { class: "segments", role: "group", "aria-label": "Interval" }, ...intervals), h("div", { class: "toggles", role: "group", "aria-label": "Indicators" }, ...toggles), download);
  const coin = h("section", { class: "panel coin-panel", "aria-label": "Coin" }, head, bar, chart.element);
  const element = h("main", { class: "market", id: "market" }, coins.element, coin, tape.element);

  function switchOne(one: Overlay | Pane): void {
    const flip = <T extends string>(all: readonly T[], has: readonly T[]): T[] => all.filter((each) => has.includes(each) !== (each === one));
    dispatch({ type: "route", route: { overlays: flip(OVERLAYS, now!.route.overlays), panes: flip(PANES, now!.route.panes) } });
  }

  /** Let the links lead to what is seen; of intervals that are not stored to the next shorter one that is. */
  function aim(): void {
    const seen = chart.seen();
    if (!download.open || seen === null || now === null) return;
    const { symbol: of, interval } = now.route;
    const stored = { "4h": "1h", "1w": "1d" }[interval as string] ?? interval;
    const range = { start_time: new Date(seen[0] * 1000).toISOString(), end_time: new Date((seen[1] + INTERVALS[interval]) * 1000).toISOString() };
    for (const { what, format, link } of links) {
      link.href = address(`/api/export/${what}`, { symbol: of, format, ...range, ...(what === "candles" ? { interval: stored } : {}) });
      link.download = `${of}-${what === "candles" ? `${stored}-` : ""}${range.start_time.slice(0, 16).replaceAll(":", "")}.${format}`;
    }
  }

  function draw(given: State, atMs: number): void {
    now = given;
    coins.draw(given, atMs);
    tape.draw(given);
    chart.draw(given);
    const { route } = given;
    for (const button of intervals) attribute(button, "aria-pressed", button.dataset["interval"] === route.interval ? "true" : "false");
    for (const button of toggles) attribute(button, "aria-pressed", [...route.overlays, ...route.panes].includes(button.dataset["toggle"] as Overlay) ? "true" : "false");
    const shown = given.coins.get(route.symbol);
    const { word, why: reason, ageMs } = condition(given, atMs, route.symbol);
    state.show(word);
    attribute(element, "data-old", isOld(word));
    attribute(element, "data-empty", given.coins.size === 0);
    text(why, ageMs === null ? "" : `${span(ageMs)} old`);
    attribute(why, "title", reason);
    const selected = given.selected === route.symbol;
    attribute(everybody, "disabled", selected || given.coins.size === 0);
    text(everybody, selected ? "★ Selected for everybody" : shown === undefined ? "☆ Follow and select for everybody…" : "☆ Select for everybody…");
    text(name, shown?.name ?? (given.coins.size === 0 ? "…" : `${route.symbol.toUpperCase()} is not followed`));
    text(symbol, route.symbol.toUpperCase() + (shown === undefined || shown.status === "TRADING" || shown.status === "" ? "" : ` · ${shown.status}`));
    if (shown === undefined) return;
    const money = (value: number | undefined): string => (value === undefined || Number.isNaN(value) ? "–" : decimal(value, shown.digits));
    text(price, money(shown.price));
    attribute(price, "data-way", way(shown.direction));
    const { session } = shown;
    const says = [percent(change(shown)), percent(dayChange(shown)), money(session?.high), money(session?.low), session === null ? "–" : compact(session.volume), money(session?.vwap), session === null || Number.isNaN(session.rate) ? "–" : compact(session.rate)];
    facts.forEach(([, value], at) => text(value, says[at]!));
    [change(shown), dayChange(shown)].forEach((value, at) => attribute(facts[at]![1], "data-way", way(value)));
  }
  return { element, draw, recolour: chart.recolour, filter: coins.focus };
}
