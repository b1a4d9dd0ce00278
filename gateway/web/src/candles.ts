// Candles: those that the store has closed, and those that trades are still changing. Pure.

import type { Candle, Trade } from "./api.ts";

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
  readonly epoch: number;
  /** As the store has computed them; null in a candle that is not closed. */
  readonly sma: number | null;
  readonly ema: number | null;
  readonly rsi: number | null;
  readonly macd: number | null;
  readonly signal: number | null;
  readonly histogram: number | null;
}

/** The id of a trade with the epoch of the id. */
export interface Place {
  readonly epoch: number;
  readonly id: number;
}

export const isAfter = (one: Place, other: Place): boolean =>
  one.epoch === other.epoch ? one.id > other.id : one.epoch > other.epoch;

const WEEK_S = 604_800;
const MONDAY_S = 4 * 86_400; // 1970-01-01 was a Thursday

/** Return when the interval begins that a time is in, both in seconds. */
export function begins(timeS: number, lengthS: number): number {
  const shift = lengthS % WEEK_S === 0 ? MONDAY_S : 0;
  return Math.floor((timeS - shift) / lengthS) * lengthS + shift;
}

/** Sums of decimals with 8 places stay exact up to 9e7: doubles add up only to the nearest one. */
const exact = (value: number): number => (value < 9e7 ? Math.round(value * 1e8) / 1e8 : value);

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
    epoch: candle.epoch,
    sma: candle.sma,
    ema: candle.ema,
    rsi: candle.rsi,
    macd: candle.macd,
    signal: candle.macd_signal,
    histogram: candle.macd_histogram,
  };
}

/** Return the bars with one trade more, which is later than all in them by its id. */
export function withTrade(bars: readonly Bar[], trade: Trade, lengthS: number): Bar[] {
  const time = begins(Date.parse(trade.timestamp ?? "") / 1000, lengthS);
  const { price, quantity } = trade;
  const at = bars.findLastIndex((bar) => bar.time <= time);
  const bar = bars[at];
  const rest = { count: 1, lastId: trade.trade_id, epoch: trade.epoch };
  if (bar?.time !== time) {
    const none = { sma: null, ema: null, rsi: null, macd: null, signal: null, histogram: null };
    const prices = { open: price, high: price, low: price, close: price };
    return bars.toSpliced(at + 1, 0, { time, ...prices, volume: quantity, quote: exact(price * quantity), ...rest, ...none });
  }
  return bars.with(at, {
    ...bar,
    ...rest,
    high: Math.max(bar.high, price),
    low: Math.min(bar.low, price),
    close: price,
    volume: exact(bar.volume + quantity),
    quote: exact(bar.quote + price * quantity),
    count: bar.count + 1,
  });
}

/** Return both joined in order of time; where both have a bar, the newer one counts. */
export function merged(older: readonly Bar[], newer: readonly Bar[]): readonly Bar[] {
  const [first, last] = [newer[0], newer.at(-1)];
  if (first === undefined || last === undefined) return older;
  const within = older.filter((bar) => bar.time >= first.time && bar.time <= last.time);
  const times = new Set(newer.map((bar) => bar.time));
  const kept = within.filter((bar) => !times.has(bar.time));
  return [
    ...older.filter((bar) => bar.time < first.time),
    ...(kept.length === 0 ? newer : [...newer, ...kept].sort((a, b) => a.time - b.time)),
    ...older.filter((bar) => bar.time > last.time),
  ];
}

export type Point = readonly [time: number, value: number];

/** The volume-weighted average price since the day (UTC) began; of candles of a day or more, of each one. */
export function vwap(bars: readonly Bar[], lengthS: number): Point[] {
  let [day, quote, volume] = [Number.NaN, 0, 0];
  return bars.flatMap((bar) => {
    const began = begins(bar.time, Math.max(86_400, lengthS));
    if (began !== day) [day, quote, volume] = [began, 0, 0];
    quote += bar.quote;
    volume += bar.volume;
    return volume > 0 ? [[bar.time, quote / volume] as const] : [];
  });
}

/** The bands two standard deviations around the mean close of 20 candles: [upper, lower]. */
export function bollinger(bars: readonly Bar[], window = 20, width = 2): [Point[], Point[]] {
  const upper: Point[] = [];
  const lower: Point[] = [];
  for (let end = window; end <= bars.length; end++) {
    const closes = bars.slice(end - window, end).map((bar) => bar.close);
    const mean = closes.reduce((sum, close) => sum + close, 0) / window;
    const deviation = Math.sqrt(closes.reduce((sum, close) => sum + (close - mean) ** 2, 0) / window);
    const time = bars[end - 1]!.time;
    upper.push([time, mean + width * deviation]);
    lower.push([time, mean - width * deviation]);
  }
  return [upper, lower];
}
