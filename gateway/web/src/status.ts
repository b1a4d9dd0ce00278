// Status: each service, how late trades reach this page and where the time goes, and what did not reach it.

import type { ServiceStatus } from "./api.ts";
import { attribute, h, text } from "./dom.ts";
import { list, pairs } from "./coverage.ts";
import { decimal, minute, quantile, span } from "./format.ts";
import { condition, nowMs, type State } from "./state.ts";

const SHAPE: Record<string, string> = { SERVING: "●", OK: "●", DEGRADED: "▲", NOT_SERVING: "■", FAILED: "■", STOPPED: "○", UNREACHABLE: "✕", UNSPECIFIED: "?" };

export function statusView(): { element: HTMLElement; draw(state: State, atMs: number): void } {
  const feed = h("p", { class: "verdict", role: "status" });
  const services = h("div", { class: "services" });
  const hops = h("tbody");
  const table = h("table", { class: "hops" }, h("thead", {}, h("tr", {}, ...["Way", "p50", "p99", "samples"].map((name) => h("th", { scope: "col" }, name)))), hops);
  const delivery = h("dl", { class: "facts" });
  const element = h(
    "main",
    { class: "page", id: "status" },
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Feed")), feed),
    services,
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Delay"), h("span", { class: "count" }, "of the trades that this page follows")), table),
    h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "This page"), h("span", { class: "count" }, "since it was opened")), delivery),
  );
  let shown: State["status"] = null;
  let dated = false; // whether the time of the mesh was known when they were shown
  return {
    element,
    draw(state, atMs) {
      const { word, why, ageMs } = condition(state, atMs);
      text(feed, `${word}${ageMs === null ? "" : `, prices are ${span(ageMs)} old`}${why === "" ? "" : `: ${why}`}`);
      const now = nowMs(state, atMs);
      attribute(element, "data-empty", state.status === null);
      if (state.status !== null && (state.status !== shown || dated === Number.isNaN(now))) services.replaceChildren(...state.status.services.map((one) => service(one, now)));
      shown = state.status;
      dated = !Number.isNaN(now);
      const { delaysMs, roundTripsMs, drawnMs, missed, losses, skipped, trades } = state.delivery;
      const half = roundTripsMs.map((ms) => ms / 2);
      const network = quantile(half, 0.5) || 0;
      const way = (name: string, values: readonly number[]): HTMLElement =>
        h("tr", {}, h("th", { scope: "row" }, name), ...[0.5, 0.99].map((share) => h("td", {}, values.length === 0 ? "–" : `${decimal(Math.max(0, quantile(values, share)), 1)} ms`)), h("td", {}, decimal(values.length, 0)));
      hops.replaceChildren(arrival(state.status), way("exchange to gateway", delaysMs.map((ms) => ms - network)), way("gateway to page", half), way("exchange to page", delaysMs), way("page to screen", drawnMs));
      delivery.replaceChildren(...pairs([["trades received", decimal(trades, 0)], ["trades missed", decimal(missed, 0)], ["messages skipped", decimal(skipped, 0)], ["connections lost", decimal(losses, 0)]]));
      attribute(delivery, "data-missed", missed + skipped > 0);
    },
  };
}

/** From the exchange to ingest, as ingest tells it of the last minute. */
function arrival(status: State["status"]): HTMLElement {
  const feed = status?.services.find(({ service: name }) => name === "ingest")?.report?.feed;
  const cells = [feed?.lag_p50_s, feed?.lag_p99_s].map((lagS) => h("td", {}, lagS == null ? "–" : `${decimal(lagS * 1000, 1)} ms`));
  return h("tr", {}, h("th", { scope: "row" }, "exchange to ingest"), ...cells, h("td", { title: "all trades of the last minute" }, "1 min"));
}

function service({ service: name, state, message, report }: ServiceStatus, now: number): HTMLElement {
  const started = Date.parse(report?.started_time ?? "");
  const said: Array<[string, string]> = [
    ["runs for", Number.isNaN(started) || Number.isNaN(now) ? "–" : span(now - started)],
    ["restarts", report?.restarts === null || report === null ? "–" : decimal(report.restarts, 0)],
    ...(report?.backlogs ?? []).map((one): [string, string] => [one.name.replaceAll("_", " "), decimal(one.count, 0)]),
  ];
  const conditions = (report?.conditions ?? []).map((one) =>
    h("li", { "data-state": one.state, title: `since ${minute(Date.parse(one.since ?? ""))} UTC` }, h("span", { "aria-hidden": "true" }, SHAPE[one.state] ?? "?"), `${one.name} ${one.state === "OK" ? "ok" : `${one.state.toLowerCase()}: ${one.message}`}`),
  );
  const word = h("span", { class: "service-state", "data-state": state }, h("span", { "aria-hidden": "true" }, SHAPE[state] ?? "?"), state.replace("_", " "));
  return h("section", { class: "panel", "aria-label": name }, h("div", { class: "panel-head" }, h("h2", {}, name), word), ...(message === "" ? [] : [h("p", { class: "message" }, message)]), h("ul", { class: "conditions" }, ...conditions), list(said));
}
