// The alerts: a form for a new one, and those that wait or have come.

import { type Alert, type AlertKind, words } from "./alerts.ts";
import { attribute, h, text } from "./dom.ts";
import { clock } from "./format.ts";
import type { Event, State } from "./state.ts";

const KINDS: Record<AlertKind, string> = { above: "rises above", below: "falls below", move: "moves by (per cent)", stale: "has no trade for (seconds)" };

export function alertsView(dispatch: (event: Event) => void): { element: HTMLElement; draw(state: State): void } {
  const coin = h("select", { "aria-label": "Coin" });
  const kind = h("select", { "aria-label": "Condition" }, ...Object.entries(KINDS).map(([value, said]) => h("option", { value }, said)));
  const value = h("input", { type: "number", step: "any", min: "0.00000001", required: true, "aria-label": "Value" });
  const windowS = h("input", { type: "number", min: "1", max: "3600", value: "60", required: true, "aria-label": "Within seconds" });
  const within = h("label", {}, "within ", windowS, " seconds");
  const permission = h("p", { class: "hint" });
  const ask = h("button", { type: "button" }, "Allow notifications");
  ask.addEventListener("click", () => void Notification.requestPermission().then(permit));
  const form = h("form", { class: "alert-form" }, coin, kind, value, within, h("button", { type: "submit", class: "primary" }, "Set alert"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dispatch({ type: "alert", symbol: coin.value, kind: kind.value as AlertKind, value: value.valueAsNumber, windowS: kind.value === "move" ? windowS.valueAsNumber : 0 });
    value.value = "";
  });
  // What is not seen must not keep the form from being sent: nobody could mend it.
  const choose = (): boolean => (within.hidden = windowS.disabled = kind.value !== "move");
  kind.addEventListener("change", choose);
  choose();
  const waiting = h("ul", { class: "alerts" });
  const element = h("main", { class: "page", id: "alerts" }, h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "New alert")), form, permission, ask), h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Alerts"), h("span", { class: "count" }, "kept in this browser, watched while the page is open")), waiting));

  function permit(): void {
    const may = "Notification" in window ? Notification.permission : "denied";
    ask.hidden = may !== "default";
    text(permission, { granted: "This browser shows a notification when an alert comes.", default: "An alert shows on this page; with your permission also as a notification.", denied: "Notifications are not allowed here, so an alert shows on this page only." }[may]);
  }
  permit();
  let [alerts, coins, looked]: [State["alerts"] | null, string, string] = [null, "", ""];
  return {
    element,
    draw(state) {
      const names = [...state.coins.keys()].join();
      const wanted = looked === state.route.symbol && state.coins.has(coin.value) ? coin.value : state.route.symbol;
      if (names !== coins) coin.replaceChildren(...[...state.coins.values()].map((one) => h("option", { value: one.symbol }, one.name)));
      if (coin.value !== wanted) coin.value = wanted;
      [coins, looked] = [names, state.route.symbol];
      attribute(value, "placeholder", `${state.coins.get(coin.value)?.price ?? ""}`);
      if (state.alerts === alerts) return;
      alerts = state.alerts;
      const item = (alert: Alert): HTMLElement =>
        h(
          "li",
          { "data-fired": alert.firedMs !== null },
          h("span", {}, words(alert, state.coins.get(alert.symbol)?.digits ?? 2)),
          h("small", {}, alert.firedMs === null ? "waits" : `came at ${clock(alert.firedMs)} UTC`),
          h("button", { type: "button", "aria-label": `Remove: ${words(alert, 2)}`, onclick: () => dispatch({ type: "alert removed", id: alert.id }) }, "Remove"),
        );
      waiting.replaceChildren(...(state.alerts.length === 0 ? [h("li", {}, "None yet.")] : state.alerts.map(item)));
    },
  };
}
