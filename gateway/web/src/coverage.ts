// Coverage: what of a coin is stored, verified against the venue, or missing; a calendar of its last day, minute by minute.

import type { Hole, Minute } from "./api.ts";
import { attribute, h, text } from "./dom.ts";
import { clock, decimal, minute } from "./format.ts";
import { address } from "./gateway.ts";
import { dayBegins, type Event, nowMs, type State } from "./state.ts";

export type Mark = "verified" | "pending" | "mismatch" | "hole" | "stored" | "none";

const MINUTE_MS = 60_000;
const HOURS = 24;
const MARKS: Record<Mark, string> = {
  verified: "VERIFIED: the stored trades give exactly the venue’s candle",
  pending: "PENDING: not compared yet",
  mismatch: "MISMATCH: the stored trades do not give the venue’s candle",
  hole: "HOLE: ids are missing",
  stored: "trades are stored; they were not compared with the venue’s candle",
  none: "no trades",
};

/** Return what a minute is marked as: a hole counts more than what was compared, and that more than what is stored. */
export function markOf(startMs: number, compared: Minute | undefined, holes: readonly Hole[], isTraded: boolean): Mark {
  const open = holes.filter((hole) => hole.state !== "FILLED" && hole.state !== "EXPIRED");
  const inHole = (hole: Hole): boolean =>
    compared !== undefined && compared.first_trade_id >= 0
      ? hole.epoch === compared.epoch && hole.first_trade_id <= compared.last_trade_id && hole.last_trade_id >= compared.first_trade_id
      : Math.floor(Date.parse(hole.seen_time ?? "") / MINUTE_MS) * MINUTE_MS === startMs;
  if (open.some(inHole)) return "hole";
  const state = compared?.state.toLowerCase();
  if (state === "verified" || state === "pending" || state === "mismatch") return state;
  return isTraded ? "stored" : "none";
}

/** Make the view; days before the last one are asked for through `dispatch`. */
export function coverageView(dispatch: (event: Event) => void): { element: HTMLElement; draw(state: State, atMs: number): void } {
  const title = h("h2");
  const verdict = h("p", { class: "verdict", role: "status" });
  const facts = h("dl", { class: "facts" });
  const grid = h("div", { class: "calendar", role: "grid", "aria-label": "The minutes of 24 hours, UTC" });
  const when24 = h("span", { class: "count", role: "status" });
  const turn = (step: number) => (): void => dispatch({ type: "calendar", daysBack: state!.daysBack + step });
  const earlier = h("button", { type: "button", onclick: turn(1) }, "◀ Earlier");
  const later = h("button", { type: "button", onclick: turn(-1) }, "Later ▶");
  const detail = h("div", { class: "detail", "aria-live": "polite" }, h("p", {}, "Choose a minute to see the ledger’s row."));
  const holes = h("div", { class: "holes" });
  const key = h("ul", { class: "key" }, ...Object.entries(MARKS).map(([mark, said]) => h("li", {}, h("span", { class: "cell", "data-mark": mark, "aria-hidden": "true" }), said)));
  const rows = Array.from({ length: HOURS }, () => {
    const head = h("span", { role: "rowheader" });
    const cells = Array.from({ length: 60 }, () => h("button", { type: "button", role: "gridcell", class: "cell", tabindex: -1, disabled: true, "aria-label": "not known yet" }));
    grid.append(h("div", { role: "row" }, head, ...cells));
    return { head, cells };
  });
  const all = rows.flatMap((row) => row.cells);
  attribute(all[0]!, "tabindex", 0);
  let [state, firstMs, chosen]: [State | null, number, number] = [null, Number.NaN, Number.NaN];
  grid.addEventListener("click", (event) => choose(all.indexOf(event.target as HTMLButtonElement)));
  grid.addEventListener("keydown", (event) => {
    const from = all.indexOf(event.target as HTMLButtonElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 60, ArrowUp: -60 }[event.key];
    if (from < 0 || step === undefined || all[from + step] === undefined) return;
    event.preventDefault();
    attribute(all[from]!, "tabindex", -1);
    attribute(all[from + step]!, "tabindex", 0);
    all[from + step]!.focus();
  });
  const element = h(
    "main",
    { class: "page coverage", id: "coverage" },
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, title), verdict, facts),
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Minutes"), when24, h("div", { class: "segments", role: "group", "aria-label": "Days" }, earlier, later)), h("div", { class: "calendar-scroll" }, grid), key, detail),
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Holes")), holes),
  );

  function choose(at: number): void {
    const { coverage, route } = state!;
    if (at < 0 || coverage === null) return;
    const startMs = (chosen = firstMs + at * MINUTE_MS);
    const row = compared(state!).get(startMs);
    const query = { symbol: route.symbol, start_time: new Date(startMs).toISOString(), end_time: new Date(startMs + MINUTE_MS).toISOString() };
    const links = h("p", {}, h("a", { href: address("/api/history", { ...query, order: "asc" }), target: "_blank" }, "its trades"), " · ", h("a", { href: address("/api/candles", { ...query, interval: "1m" }), target: "_blank" }, "its candle"));
    const said: Array<[string, string]> =
      row === undefined
        ? [["state", MARKS[all[at]!.dataset["mark"] as Mark]]]
        : [["state", row.state], ["trades", decimal(row.trade_count, 0)], ["first id", `${row.first_trade_id}`], ["last id", `${row.last_trade_id}`], ["epoch", `${row.epoch}`], ["difference", row.difference || "none"]];
    detail.replaceChildren(h("h3", {}, `${minute(startMs)} UTC`), list(said), links);
    draw(state!, performance.now());
  }

  function draw(now: State, atMs: number): void {
    state = now;
    const { coverage } = now;
    const last = Math.floor(nowMs(now, atMs) / MINUTE_MS) * MINUTE_MS;
    text(title, `Coverage of ${now.route.symbol.toUpperCase()}`);
    element.setAttribute("aria-busy", String(coverage === null));
    if (coverage === null || Number.isNaN(last)) return text(verdict, "Asking the ledger…");
    firstMs = dayBegins(last, now.daysBack);
    text(when24, `24 hours from ${minute(firstMs)} UTC`);
    attribute(later, "disabled", now.daysBack === 0);
    grid.setAttribute("aria-busy", String(now.day === null));
    const open = coverage.holes.filter((hole) => hole.state === "OPEN").length;
    attribute(verdict, "data-way", coverage.complete ? "up" : "down");
    text(verdict, coverage.complete ? "✓ Complete: every trade that the venue issued since the first stored one is stored." : `✕ Not complete: ${decimal(coverage.open, 0)} ids in ${open} holes are missing, and are asked for again.`);
    const count = (value: number): string => decimal(value, 0);
    facts.replaceChildren(...pairs([["stored trades", count(coverage.stored)], ["missing, asked for", count(coverage.open)], ["not at the venue", count(coverage.absent)], ["lost forever", count(coverage.lost)], ["minutes verified", count(coverage.minutes_verified)], ["minutes that differ", count(coverage.minutes_mismatched)], ["epochs", count(coverage.epochs.length)]]));
    const known = compared(now);
    rows.forEach(({ head, cells }, hour) => {
      const hourMs = firstMs + hour * 3_600_000;
      text(head, clock(hourMs).slice(0, 5));
      cells.forEach((cell, at) => {
        const startMs = hourMs + at * MINUTE_MS;
        const mark = startMs > last || now.day === null ? "" : markOf(startMs, known.get(startMs), coverage.holes, now.day.traded.has(startMs));
        attribute(cell, "data-mark", mark);
        attribute(cell, "disabled", mark === "");
        attribute(cell, "aria-label", `${clock(startMs).slice(0, 5)} ${mark !== "" ? mark : now.day === null ? "not known yet" : "in the future"}`);
        attribute(cell, "aria-selected", startMs === chosen && "true");
      });
    });
    const newest = coverage.holes.slice(0, 50);
    const columns = ["state", "first id", "last id", "ids", "noticed", "closed"];
    const cell = (value: string): HTMLElement => h("td", {}, value);
    const row = (hole: Hole): HTMLElement => h("tr", { "data-hole": hole.state }, cell(hole.state), cell(`${hole.first_trade_id}`), cell(`${hole.last_trade_id}`), cell(count(hole.last_trade_id - hole.first_trade_id + 1)), cell(when(hole.seen_time)), cell(when(hole.closed_time)));
    holes.replaceChildren(newest.length === 0 ? h("p", {}, "None: no id was ever missing.") : h("table", {}, h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...newest.map(row))));
  }
  return { element, draw };
}

/** The ledger's rows by when their minutes begin: those of the day, and the newest ones as they are told. */
const compared = ({ coverage, day }: State): Map<number, Minute> => new Map([...(day?.minutes ?? []), ...(coverage?.minutes ?? [])].map((one) => [Date.parse(one.start_time ?? ""), one]));

const when = (time: string | null): string => (time === null ? "–" : `${minute(Date.parse(time))} UTC`);

export const pairs = (said: ReadonlyArray<readonly [string, string]>): HTMLElement[] => said.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
export const list = (said: ReadonlyArray<readonly [string, string]>): HTMLElement => h("dl", { class: "facts" }, ...pairs(said));
