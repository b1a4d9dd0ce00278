// Price alerts: what they wait for, and whether it has come. Pure.

import { decimal, percent, span } from "./format.ts";

export type AlertKind = "above" | "below" | "move" | "stale";

export interface Alert {
  readonly id: number;
  readonly symbol: string;
  readonly kind: AlertKind;
  /** A price; of `move` per cent; of `stale` seconds. */
  readonly value: number;
  /** Of `move`: within how many seconds; 0 of the others. */
  readonly windowS: number;
  /** When it came, in the gateway's time; null while it waits. */
  readonly firedMs: number | null;
  /** Of `move`: the prices within the window, one a second at most. */
  readonly trail: ReadonlyArray<readonly [ms: number, price: number]>;
}

/** Read alerts that were kept as JSON; what is none, or no alert, is left out: anybody may have written it. */
export function readAlerts(text: string): readonly Alert[] {
  let found: unknown = null;
  try {
    found = JSON.parse(text);
  } catch {
    return [];
  }
  return Array.isArray(found) ? found.filter(isAlert).map(({ id, symbol, kind, value, windowS, firedMs }) => ({ id, symbol, kind, value, windowS, firedMs, trail: [] })) : [];
}

const KINDS: readonly unknown[] = ["above", "below", "move", "stale"] satisfies AlertKind[];

function isAlert(found: unknown): found is Alert {
  const { id, symbol, kind, value, windowS, firedMs } = (found ?? {}) as Partial<Record<keyof Alert, unknown>>;
  const numbers = [id, value, windowS, firedMs ?? 0];
  return typeof symbol === "string" && KINDS.includes(kind) && numbers.every((one) => typeof one === "number" && Number.isFinite(one)) && Math.abs((firedMs ?? 0) as number) < 8.64e15;
}

/** What is known of the alert's coin when it is looked at. */
export interface Seen {
  readonly nowMs: number;
  readonly price: number;
  readonly tradedMs: number;
}

/** Return the alert after a look at its coin; the same object when nothing has changed. */
export function looked(alert: Alert, seen: Seen): Alert {
  if (alert.firedMs !== null || Number.isNaN(seen.price)) return alert;
  const trail = alert.kind === "move" ? lengthened(alert, seen) : alert.trail;
  return hasCome(alert, trail, seen) ? { ...alert, trail: [], firedMs: seen.nowMs } : trail === alert.trail ? alert : { ...alert, trail };
}

function lengthened(alert: Alert, { nowMs, price }: Seen): Alert["trail"] {
  const last = alert.trail.at(-1);
  if (last !== undefined && nowMs - last[0] < 1000) return alert.trail;
  return [...alert.trail.filter(([ms]) => nowMs - ms <= alert.windowS * 1000), [nowMs, price] as const];
}

function hasCome({ kind, value }: Alert, trail: Alert["trail"], { nowMs, price, tradedMs }: Seen): boolean {
  switch (kind) {
    case "above":
      return price > value;
    case "below":
      return price < value;
    case "move":
      return trail.some(([, before]) => Math.abs(price / before - 1) * 100 >= value);
    case "stale":
      return nowMs - tradedMs > value * 1000;
  }
}

/** What an alert waits for, in words: "BTCUSDT above 62,000.00". */
export function words({ symbol, kind, value, windowS }: Alert, digits: number): string {
  const what = {
    above: () => `above ${decimal(value, digits)}`,
    below: () => `below ${decimal(value, digits)}`,
    move: () => `moves by ${percent(value).slice(1)} within ${span(windowS * 1000)}`,
    stale: () => `without a trade for ${span(value * 1000)}`,
  };
  return `${symbol.toUpperCase()} ${what[kind]()}`;
}
