// The page: puts state, effects and views together, and draws at most once a frame.

import { readAlerts, words } from "./alerts.ts";
import { alertsView } from "./alertsview.ts";
import { coverageView } from "./coverage.ts";
import { attribute, badge, h, text } from "./dom.ts";
import { Effects } from "./effects.ts";
import { decimal, span } from "./format.ts";
import { Refused, select } from "./gateway.ts";
import { marketView } from "./market.ts";
import { type Interval, INTERVALS, readRoute, type View, VIEWS, writeRoute } from "./route.ts";
import { begin, chartKey, condition, type Event, reduce, type State } from "./state.ts";
import { statusView } from "./status.ts";
import { keep, kept } from "./storage.ts";

const ALERTS = "tickmesh alerts";
const THEME = "tickmesh theme";
const KEYS: ReadonlyArray<readonly [string, string]> = [
  ["/", "filter the coins"],
  ["j k ↑ ↓", "walk the coins, Enter opens one"],
  ["[ ]", "shorter or longer candles"],
  ["← → + − Home End", "move in the chart, when it has the focus"],
  [", .", "the candle before or after, read out, when the chart has the focus"],
  ["1 2 3 4", VIEWS.join(", ")],
  ["s", "select this coin for everybody (asks first)"],
  ["t", "light, dark, or as the system"],
  ["?", "this list"],
];
/** Between two drawings of data; what a person does is drawn with the next frame. */
const DRAW_MS = 200;

let state: State = begin(readRoute(location.search), readAlerts(kept("localStorage", ALERTS)));
/** For the console, and for tests: what the page knows now. */
Object.assign(window, { tickmesh: () => state });
let [drawnMs, due, made] = [0, false, false];
/** How long the views wait for the first candles: while they are made nothing else is. */
const CANDLES_FIRST_MS = 150;
/** When the first message came that is not drawn yet. */
let undrawnMs: number | null = null;
const effects = new Effects(() => state, dispatch);
const asked = effects.start();
await Promise.race([Promise.allSettled([asked]), new Promise((waited) => setTimeout(waited, CANDLES_FIRST_MS))]);

function dispatch(event: Event): void {
  const before = state;
  state = reduce(state, event);
  if (state.route !== before.route) {
    const query = writeRoute(state.route);
    if (query !== location.search) history[event.type === "route" && event.itself ? "replaceState" : "pushState"](null, "", query);
    arrived(before);
  }
  if (event.type === "calendar") void effects.coverage();
  if (state.alerts !== before.alerts) alerted(before);
  if (event.type === "messages") undrawnMs ??= event.received[0]!.atMs;
  schedule(event.type === "messages" || event.type === "clock" ? DRAW_MS : 0);
}

/** Another coin or interval is shown: its candles are needed. */
function arrived(before: State): void {
  if (chartKey(state.route) !== chartKey(before.route) || state.route.view !== before.route.view) effects.show();
  if (state.route.view === "coverage" && (before.route.view !== "coverage" || state.route.symbol !== before.route.symbol)) void effects.coverage();
}

function alerted(before: State): void {
  keep("localStorage", ALERTS, JSON.stringify(state.alerts.map((alert) => ({ ...alert, trail: [] }))));
  for (const alert of state.alerts) {
    if (alert.firedMs === null || before.alerts.find(({ id }) => id === alert.id)?.firedMs !== null) continue;
    const said = words(alert, state.coins.get(alert.symbol)?.digits ?? 2);
    dispatch({ type: "notice", text: said });
    notify(said, alert.id);
  }
}

function notify(body: string, id: number): void {
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  try {
    new Notification("tickmesh", { body, tag: `tickmesh ${id}` });
  } catch {
    // Chrome on Android leaves them to service workers; the page has shown it.
  }
}

function schedule(afterMs: number): void {
  if (!made || (due && afterMs > 0)) return;
  due = true;
  const draw = (): number => requestAnimationFrame(redraw);
  const waitMs = drawnMs + afterMs - performance.now();
  if (waitMs > 0) setTimeout(draw, waitMs);
  else draw();
}

// --- the frame around the views ---

const market = marketView(dispatch, () => void effects.older(), confirm);
type Shown = { element: HTMLElement; draw(state: State, atMs: number): void };
const views: Partial<Record<View, Shown>> = { market };
const makers: Record<View, () => Shown> = { market: () => market, coverage: () => coverageView(dispatch), status: statusView, alerts: () => alertsView(dispatch) };
const tabs = VIEWS.map((view, at) => h("a", { href: `?view=${view}`, "data-view": view, "aria-keyshortcuts": `${at + 1}` }, view[0]!.toUpperCase() + view.slice(1)));
const feed = badge();
const [venue, age] = [h("span", { class: "venue" }), h("span", { class: "age" })];
const theme = h("button", { type: "button", class: "icon", onclick: turn, "aria-keyshortcuts": "t" }, "◐");
const help = h("button", { type: "button", class: "icon", onclick: () => keys.showModal(), "aria-label": "Keys", title: "Keys (?)", "aria-keyshortcuts": "?" }, "?");
const brand = h("a", { href: ".", class: "brand", "aria-label": "tickmesh" }, h("span", { class: "mark", "aria-hidden": "true" }, h("i"), h("i"), h("i")), "tickmesh");
const banner = h("p", { class: "banner", role: "status" });
const token = h("input", { type: "password", autocomplete: "off", "aria-label": "Token" });
const door = h("form", { class: "door panel" }, h("h2", {}, "This mesh wants a token"), h("p"), token, h("button", { type: "submit", class: "primary" }, "Enter"));
const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
const close = (): HTMLElement => h("button", { type: "submit" }, "Close");
const keys = h("dialog", { "aria-label": "Keys" }, h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("dl", { class: "keys" }, ...KEYS.map(([key, does]) => h("div", {}, h("dt", {}, ...key.split(" ").flatMap((one) => [h("kbd", {}, one), " "])), h("dd", {}, does)))), close()));
const question = h("p");
const choice = h("dialog", { "aria-label": "Select for everybody" }, h("form", { method: "dialog" }, h("h2", {}, "Select for everybody?"), question, h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary", onclick: () => void chosen() }, "Select"), h("button", { type: "submit" }, "Cancel"))));
const foot = h("footer", {}, h("span", {}, "Times are UTC. Candles are drawn by ", h("a", { href: "https://www.tradingview.com/", rel: "noreferrer" }, "TradingView"), " Lightweight Charts™ (", h("a", { href: "page/licences.txt" }, "licences"), ")."), h("a", { href: "docs" }, "API"));
const place = h("div", { class: "views" });
document.body.append(h("a", { class: "skip", href: "#main" }, "To the content"), h("header", {}, brand, h("nav", { "aria-label": "Views" }, ...tabs), h("div", { class: "feed" }, venue, feed.element, age), theme, help), banner, door, place, foot, toasts, keys, choice);

function redraw(): void {
  due = false;
  const atMs = (drawnMs = performance.now());
  const view = (views[state.route.view] ??= makers[state.route.view]());
  if (place.firstChild !== view.element) place.replaceChildren(view.element);
  const { word, why, ageMs } = condition(state, atMs);
  feed.show(word);
  text(age, ageMs === null ? "" : span(ageMs));
  text(venue, state.status?.venue ?? "");
  attribute(document.documentElement, "data-word", word);
  text(banner, word === "SIM" ? "Simulated exchange: these prices are not real" : word === "LIVE" || word === "QUIET" ? "" : `${word}${ageMs === null ? "" : ", prices are old"}: ${why}`);
  banner.hidden = banner.textContent === "";
  door.hidden = state.link !== "refused";
  place.hidden = !door.hidden;
  text(door.querySelector("p")!, state.problem);
  for (const tab of tabs) {
    attribute(tab, "aria-current", tab.dataset["view"] === state.route.view && "page");
    attribute(tab, "href", writeRoute({ ...state.route, view: tab.dataset["view"] as View }));
  }
  const coin = state.coins.get(state.route.symbol);
  document.title = coin === undefined || Number.isNaN(coin.price) ? "tickmesh" : `${decimal(coin.price, coin.digits)} ${coin.symbol.toUpperCase()} · ${word}`;
  view.draw(state, atMs);
  if (undrawnMs !== null) state = reduce(state, { type: "drawn", afterMs: atMs - undrawnMs });
  undrawnMs = null;
  if (toasts.childElementCount !== state.notices.length || toasts.lastElementChild?.getAttribute("data-id") !== String(state.notices.at(-1)?.id)) {
    toasts.replaceChildren(...state.notices.map(({ id, text: said }) => h("div", { "data-id": id }, said, h("button", { type: "button", "aria-label": `Dismiss: ${said}`, onclick: () => dispatch({ type: "notice seen", id }) }, "✕"))));
  }
}

function confirm(): void {
  const { symbol } = state.route;
  if (symbol === state.selected || symbol === "") return;
  text(question, `${state.coins.get(symbol)?.name ?? symbol.toUpperCase()} becomes the coin of every client of this mesh that follows the selected one: terminals, programs and pages. Looking at it here changes nothing for others.`);
  choice.showModal();
}

async function chosen(): Promise<void> {
  const { symbol } = state.route;
  try {
    await select(symbol);
    await effects.selected();
  } catch (problem) {
    dispatch({ type: "notice", text: problem instanceof Refused ? problem.message : "the gateway does not answer; whether it was selected is not known" });
  }
}

function turn(): void {
  const next = { "": "light", light: "dark", dark: "" }[kept("localStorage", THEME)] ?? "";
  keep("localStorage", THEME, next);
  paint();
}

function paint(): void {
  const wanted = kept("localStorage", THEME);
  const dark = wanted === "" ? !matchMedia("(prefers-color-scheme: light)").matches : wanted === "dark";
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  const said = `Theme: ${wanted || "as the system"}`;
  attribute(theme, "aria-label", said);
  attribute(theme, "title", `${said} (t)`);
  market.recolour();
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null) return;
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
  const lengths = Object.keys(INTERVALS) as Interval[];
  const longer = (step: number): void => {
    const interval = lengths[lengths.indexOf(state.route.interval) + step];
    if (interval !== undefined) dispatch({ type: "route", route: { interval } });
  };
  const view = VIEWS[Number(key) - 1];
  const actions: Record<string, () => void> = { "/": () => market.filter(), "[": () => longer(-1), "]": () => longer(1), s: confirm, t: turn, "?": () => keys.showModal() };
  const action = view === undefined ? actions[key] : () => dispatch({ type: "route", route: { view } });
  if (action === undefined) return;
  event.preventDefault();
  action();
});
for (const tab of tabs) {
  tab.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dispatch({ type: "route", route: { view: tab.dataset["view"] as View } });
  });
}
door.addEventListener("submit", (event) => {
  event.preventDefault();
  effects.admit(token.value);
});
addEventListener("popstate", () => {
  const before = state;
  state = reduce(state, { type: "route", route: readRoute(location.search) });
  arrived(before);
  schedule(0);
});
addEventListener("visibilitychange", () => {
  if (!document.hidden) effects.seen();
  schedule(0);
});
addEventListener("storage", ({ key, newValue }) => {
  if (key === ALERTS) dispatch({ type: "alerts", alerts: readAlerts(newValue ?? "") });
  if (key === THEME) paint();
});
matchMedia("(prefers-color-scheme: light)").addEventListener("change", paint);
made = true;
paint();
schedule(0);
