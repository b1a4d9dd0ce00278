// The table of coins: price, changes, volume, rate and the last hour of each; sorted, filtered, and walked by keys.

import { attribute, h, sparkline, text } from "./dom.ts";
import { compact, decimal, percent, way } from "./format.ts";
import { condition, type CoinState, isOld, type State } from "./state.ts";

interface Column {
  readonly name: string;
  readonly title: string;
  readonly value: (coin: CoinState) => number | string;
  readonly said: (coin: CoinState) => string;
}

export const change = (coin: CoinState): number => (coin.session === null ? Number.NaN : (coin.price / coin.session.open - 1) * 100);
export const dayChange = (coin: CoinState): number => (coin.price / coin.dayAgo - 1) * 100;
const volume = ({ session }: CoinState): number => (session === null ? Number.NaN : session.volume * session.vwap);

const COLUMNS: readonly Column[] = [
  { name: "Coin", title: "the coin, and its symbol at the venue", value: (coin) => coin.name, said: (coin) => coin.name },
  { name: "Price", title: "the last price", value: (coin) => coin.price, said: (coin) => (Number.isNaN(coin.price) ? "–" : decimal(coin.price, coin.digits)) },
  { name: "Session", title: "change since the session began", value: change, said: (coin) => percent(change(coin)) },
  { name: "24 h", title: "change over 24 hours, or since the first stored trade", value: dayChange, said: (coin) => percent(dayChange(coin)) },
  { name: "Volume", title: "traded in the session, in the quote asset", value: volume, said: (coin) => (Number.isNaN(volume(coin)) ? "–" : compact(volume(coin))) },
  { name: "Rate", title: "trades per second", value: (coin) => coin.session?.rate ?? Number.NaN, said: (coin) => (coin.session === null || Number.isNaN(coin.session.rate) ? "–" : compact(coin.session.rate)) },
];

interface Row {
  readonly element: HTMLTableRowElement;
  /** Whether it is within what is scrolled to: the others need not be drawn. */
  seen: boolean;
  shown: CoinState | null;
  draw(coin: CoinState): void;
}

/** Make the table; `choose` is called with the symbol of the row that is opened, `look` with those of the rows that are seen. */
export function coinsView(choose: (symbol: string) => void, look: (symbols: string[]) => void): { element: HTMLElement; draw(state: State, atMs: number): void; focus(): void } {
  const rows = new Map<string, Row>();
  let [by, rising, wanted, sortedAt, order] = [-1, false, "", 0, ""];
  let state: State | null = null;
  const redraw = (): void => {
    if (state !== null) draw(state, performance.now());
  };
  const filter = h("input", { type: "search", placeholder: "Filter coins", "aria-label": "Filter coins", "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false" });
  const count = h("span", { class: "count", role: "status" });
  const heads = COLUMNS.map(({ name, title }, at) => {
    const button = h("button", { type: "button", title }, name);
    button.addEventListener("click", () => {
      [by, rising] = [at, by === at ? !rising : at === 0];
      [sortedAt, order] = [0, ""];
      redraw();
    });
    return h("th", { scope: "col" }, button);
  });
  const body = h("tbody");
  const table = h("table", { class: "coins" }, h("thead", {}, h("tr", {}, ...heads, h("th", { scope: "col", class: "last-hour" }, "1 h"))), body);
  const scroll = h("div", { class: "scroll", tabindex: "-1" }, table);
  const element = h("section", { class: "panel coins-panel", "aria-label": "Coins" }, h("div", { class: "panel-head" }, filter, count), scroll);
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) rows.get((target as HTMLElement).dataset["symbol"]!)!.seen = isIntersecting;
      look([...rows.keys()].filter((symbol) => rows.get(symbol)!.seen));
      redraw();
    },
    { root: scroll, rootMargin: "100px" },
  );
  filter.addEventListener("input", () => {
    [wanted, order] = [filter.value.trim().toLowerCase(), ""];
    redraw();
  });
  filter.addEventListener("keydown", (event) => {
    const first = body.querySelector<HTMLElement>("tr:not([hidden])");
    if (event.key === "ArrowDown") first?.focus();
    else if (event.key === "Enter" && first?.dataset["symbol"] !== undefined) choose(first.dataset["symbol"]);
    else if (event.key === "Escape") {
      filter.value = wanted = order = "";
      redraw();
      filter.blur();
    } else return;
    event.preventDefault();
  });
  body.addEventListener("keydown", (event) => {
    const row = (event.target as HTMLElement).closest("tr");
    if (row === null) return;
    const visible = [...body.rows].filter((one) => !one.hidden);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 10, PageUp: -10, Home: -1e6, End: 1e6 }[event.key];
    if (step !== undefined) visible[Math.min(visible.length - 1, Math.max(0, visible.indexOf(row) + step))]?.focus();
    else if (event.key === "Enter" || event.key === " ") choose(row.dataset["symbol"]!);
    else return;
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const symbol = (event.target as HTMLElement).closest("tr")?.dataset["symbol"];
    if (symbol !== undefined) choose(symbol);
  });

  function draw(now: State, atMs: number): void {
    state = now;
    for (const coin of now.coins.values()) {
      let row = rows.get(coin.symbol);
      if (row === undefined) {
        rows.set(coin.symbol, (row = coinRow(coin)));
        observer.observe(row.element);
      }
      if (!row.seen && row.shown !== null) continue;
      if (row.shown !== coin) row.draw(coin);
      const shown = coin.symbol === now.route.symbol;
      attribute(row.element, "aria-current", shown && "true");
      attribute(row.element, "tabindex", shown ? 0 : -1);
      attribute(row.element, "data-selected", coin.symbol === now.selected);
      const { word } = condition(now, atMs, coin.symbol);
      attribute(row.element, "data-old", isOld(word));
    }
    // Rows keep their places while somebody points at them, and change them at most every other second.
    if (order !== "" && (atMs - sortedAt < 2000 || element.matches(":focus-within, :hover"))) return;
    sortedAt = atMs;
    const coins = [...now.coins.values()];
    const column = COLUMNS[by];
    if (column !== undefined) coins.sort((a, b) => compared(column.value(a), column.value(b)) * (rising ? 1 : -1));
    heads.forEach((head, at) => attribute(head, "aria-sort", at === by && (rising ? "ascending" : "descending")));
    const names = coins.map(({ symbol }) => symbol).join();
    let found = 0;
    for (const coin of coins) {
      const row = rows.get(coin.symbol)!;
      row.element.hidden = !`${coin.symbol} ${coin.name}`.toLowerCase().includes(wanted);
      if (!row.element.hidden) found++;
    }
    if (names !== order) body.replaceChildren(...coins.map(({ symbol }) => rows.get(symbol)!.element));
    order = names;
    text(count, wanted === "" ? `${coins.length} coins` : `${found} of ${coins.length}`);
  }
  return { element, draw, focus: () => filter.focus() };
}

function compared(a: number | string, b: number | string): number {
  if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b));
  return (Number.isNaN(a) ? -Infinity : a) - (Number.isNaN(b) ? -Infinity : b) || 0;
}

function coinRow({ symbol, name }: CoinState): Row {
  const cells = COLUMNS.slice(1).map(() => h("td"));
  const spark = sparkline();
  const short = name.match(/\((.+)\)$/)?.[1] ?? symbol.toUpperCase();
  const head = h("th", { scope: "row" }, h("b", {}, short), h("small", {}, name.replace(/ \(.+\)$/, "")));
  const element = h("tr", { "data-symbol": symbol, tabindex: -1 }, head, ...cells, h("td", { class: "last-hour" }, spark.element));
  const row: Row = {
    element,
    seen: false,
    shown: null,
    draw(coin) {
      COLUMNS.slice(1).forEach(({ said, value }, at) => {
        const cell = cells[at]!;
        text(cell, said(coin));
        if (at === 1 || at === 2) attribute(cell, "data-way", way(Number(value(coin))));
      });
      if (row.shown !== null && coin.price !== row.shown.price) attribute(cells[0]!, "data-moved", coin.direction < 0 ? "down" : "up");
      if (coin.spark !== row.shown?.spark) spark.show(coin.spark);
      row.shown = coin;
    },
  };
  return row;
}

