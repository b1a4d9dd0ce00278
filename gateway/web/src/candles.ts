// Candles, closed ones and the open one, as the store tells them. Pure.

import type { Candle } from "./api.ts";

export interface Bar {
  /** The beginning, in seconds since 1970. */
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
  readonly quote: number;
  readonly count: number;
  readonly lastId: number;
  readonly closed: boolean;
  /** Of a closed one: how often it was changed since. */
  readonly revision: number;
  /** As the store has computed them; null in a candle that is not closed. */
  readonly sma: number | null;
  readonly ema: number | null;
  readonly rsi: number | null;
  readonly macd: number | null;
  readonly signal: number | null;
  readonly histogram: number | null;
}

const WEEK_S = 604_800;
const MONDAY_S = 4 * 86_400; // 1970-01-01 was a Thursday

/** Return when the interval begins that a time is in, both in seconds. */
export function begins(timeS: number, lengthS: number): number {
  const shift = lengthS % WEEK_S === 0 ? MONDAY_S : 0;
  return Math.floor((timeS - shift) / lengthS) * lengthS + shift;
}

export function barOf(candle: Candle): Bar {
  return {
    time: Date.parse(candle.time ?? "") / 1000,
    open: candle.open,
    high: candle.high,
    low: candle.low,
    close: candle.close,
    volume: candle.volume,
    quote: candle.quote_volume,
    count: candle.count,
    lastId: candle.last_trade_id,
    closed: candle.closed,
    revision: candle.revision,
    sma: candle.sma,
    ema: candle.ema,
    rsi: candle.rsi,
    macd: candle.macd,
    signal: candle.macd_signal,
    histogram: candle.macd_histogram,
  };
}

/** Whether a candle says more than another one of the same time: it has closed, was revised, or has more trades. */
const isNewer = (one: Bar, other: Bar): boolean =>
  one.closed !== other.closed ? one.closed : one.closed ? one.revision > other.revision : one.count >= other.count;

/** Return both joined in the order of time; where both have a candle, the newer one counts. */
export function merged(known: readonly Bar[], found: readonly Bar[]): readonly Bar[] {
  const first = Math.min(...found.map((bar) => bar.time));
  const kept = known.findLastIndex((bar) => bar.time < first) + 1; // searched from the end, where most changes are
  const rest = new Map(known.slice(kept).map((bar) => [bar.time, bar]));
  for (const bar of found) {
    const before = rest.get(bar.time);
    if (before === undefined || isNewer(bar, before)) rest.set(bar.time, bar);
  }
  return known.slice(0, kept).concat([...rest.values()].sort((a, b) => a.time - b.time));
}

export type Point = readonly [time: number, value: number];

/** The volume-weighted average price since the day (UTC) began; of candles of a day or more, of each one. Of the bars from an index on. */
export function vwap(bars: readonly Bar[], lengthS: number, from = 0): Point[] {
  const dayOf = (bar: Bar): number => begins(bar.time, Math.max(86_400, lengthS));
  let [day, quote, volume, start] = [bars[from] === undefined ? Number.NaN : dayOf(bars[from]), 0, 0, from];
  while (start > 0 && dayOf(bars[start - 1]!) === day) start--;
  const found: Point[] = [];
  for (let index = start; index < bars.length; index++) {
    const bar = bars[index]!;
    const began = dayOf(bar);
    if (began !== day) [day, quote, volume] = [began, 0, 0];
    quote += bar.quote;
    volume += bar.volume;
    if (index >= from && volume > 0) found.push([bar.time, quote / volume]);
  }
  return found;
}

/** The bands two standard deviations around the mean close of 20 candles: [upper, lower]. Of the bars from an index on. */
export function bollinger(bars: readonly Bar[], from = 0, window = 20, width = 2): [Point[], Point[]] {
  const upper: Point[] = [];
  const lower: Point[] = [];
  for (let end = Math.max(window, from + 1); end <= bars.length; end++) {
    const closes = bars.slice(end - window, end).map((bar) => bar.close);
    const mean = closes.reduce((sum, close) => sum + close, 0) / window;
    const deviation = Math.sqrt(closes.reduce((sum, close) => sum + (close - mean) ** 2, 0) / window);
    const time = bars[end - 1]!.time;
    upper.push([time, mean + width * deviation]);
    lower.push([time, mean - width * deviation]);
  }
  return [upper, lower];
}
