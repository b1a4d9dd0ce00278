// What the address says: the view, the coin, the interval, and what is drawn over and below the candles.

export const VIEWS = ["market", "coverage", "status", "alerts"] as const;
/** Seconds of each interval that the page offers. */
export const INTERVALS = { "1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400, "1w": 604800 } as const;
export const OVERLAYS = ["sma", "ema", "vwap", "bollinger"] as const;
export const PANES = ["rsi", "macd"] as const;

export type View = (typeof VIEWS)[number];
export type Interval = keyof typeof INTERVALS;
export type Overlay = (typeof OVERLAYS)[number];
export type Pane = (typeof PANES)[number];

export interface Route {
  view: View;
  /** Empty until it is known which coin is selected. */
  symbol: string;
  interval: Interval;
  overlays: readonly Overlay[];
  panes: readonly Pane[];
}

const among = <T extends string>(all: readonly T[], text: string): T[] => {
  const wanted = text.split(",");
  return all.filter((one) => wanted.includes(one));
};

/** Read the query of an address; what it does not say, or says wrongly, is as at the beginning. */
export function readRoute(query: string): Route {
  const said = new URLSearchParams(query);
  return {
    view: among(VIEWS, said.get("view") ?? "")[0] ?? "market",
    symbol: (said.get("symbol") ?? "").toLowerCase(),
    interval: among(Object.keys(INTERVALS) as Interval[], said.get("interval") ?? "")[0] ?? "1m",
    overlays: among(OVERLAYS, said.get("overlays") ?? "ema"),
    panes: among(PANES, said.get("panes") ?? ""),
  };
}

/** Write the query of a route. */
export function writeRoute(route: Route): string {
  const { view, symbol, interval, overlays, panes } = route;
  return `?${new URLSearchParams({ view, symbol, interval, overlays: overlays.join(), panes: panes.join() })}`;
}
