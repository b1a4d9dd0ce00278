// The tape: the last trades of a coin, coloured by the side of their taker.

import { attribute, h, text } from "./dom.ts";
import { clock, decimal } from "./format.ts";
import type { State } from "./state.ts";

const ROWS = 60;

/** Make the tape. Its rows stay, and only what they say changes: a thousand trades a second cost no more than ten. */
export function tapeView(): { element: HTMLElement; draw(state: State): void } {
  const rows = Array.from({ length: ROWS }, () => {
    const cells = [h("td"), h("td"), h("td"), h("td", { class: "side" })] as const;
    return { element: h("tr", {}, ...cells), cells };
  });
  const head = h("tr", {}, ...["Price", "Size", "Time, UTC", "Side"].map((name) => h("th", { scope: "col" }, name)));
  const table = h("table", { class: "tape" }, h("thead", {}, head), h("tbody", {}, ...rows.map((row) => row.element)));
  const element = h("section", { class: "panel tape-panel", "aria-label": "Tape: the last trades" }, h("div", { class: "panel-head" }, h("h2", {}, "Tape"), h("span", { class: "count" }, "taker’s side")), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The last trades" }, table));
  let shown: State["tape"] | null = null;
  return {
    element,
    draw(state) {
      const coin = state.coins.get(state.route.symbol);
      if (state.tape === shown || coin === undefined) return;
      shown = state.tape;
      rows.forEach(({ element: row, cells: [price, size, time, side] }, at) => {
        const trade = state.tape[at];
        row.hidden = trade === undefined;
        if (trade === undefined) return;
        attribute(row, "data-way", trade.side === "BUY" ? "up" : "down");
        attribute(row, "data-id", trade.trade_id);
        text(price, decimal(trade.price, coin.digits));
        text(size, decimal(trade.quantity, coin.sizeDigits));
        text(time, clock(Date.parse(trade.timestamp ?? ""), true));
        text(side, trade.side === "BUY" ? "▲ buy" : "▼ sell");
      });
    },
  };
}
