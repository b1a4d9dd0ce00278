// What the page computes and how it says it: candles, indicators, alerts, addresses, numbers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Alert, looked, readAlerts, words } from "../src/alerts.ts";
import { type Bar, begins, bollinger, merged, vwap } from "../src/candles.ts";
import { clock, decimal, percent, places, quantile, span, way } from "../src/format.ts";
import { readRoute, writeRoute } from "../src/route.ts";

const bar = (time: number, close: number, volume = 1): Bar => ({ ...{ time, open: close, high: close, low: close, close, volume, quote: close * volume, count: 1 }, ...{ lastId: 1, closed: true, revision: 0, sma: null, ema: null, rsi: null, macd: null, signal: null, histogram: null } });

test("weeks begin on Monday, all else with 1970", () => {
  assert.equal(new Date(begins(Date.parse("2026-11-29T09:00:00Z") / 1000, 604_800) * 1000).toISOString(), "2026-11-23T00:00:00.000Z");
  assert.equal(begins(3601, 3600), 3600);
});

test("of two bars of one time the one that says more stays", () => {
  const known = [bar(0, 1), bar(60, 2), { ...bar(120, 3), revision: 1 }, { ...bar(180, 4), closed: false }];
  const found = [{ ...bar(60, 9), revision: 1 }, bar(120, 8), { ...bar(180, 7), closed: false, count: 2 }, { ...bar(240, 5), closed: false }];
  assert.deepEqual(merged(known, found).map(({ time, close }) => [time, close]), [[0, 1], [60, 9], [120, 3], [180, 7], [240, 5]]);
  assert.deepEqual(merged([bar(180, 4)], [{ ...bar(180, 7), closed: false, count: 9 }])[0]!.close, 4);
  assert.equal(merged(known, [])[3], known[3]);
});

test("VWAP begins anew each day", () => {
  assert.deepEqual(vwap([bar(0, 10), bar(60, 20), bar(86_400, 50)], 60), [[0, 10], [60, 15], [86_400, 50]]);
});

test("what is drawn of the last bars alone is what is drawn of all of them", () => {
  const bars = Array.from({ length: 3000 }, (_, at) => bar(at * 60, 100 + Math.sin(at) * 5, 1 + (at % 7)));
  for (const from of [0, 5, 19, 20, 1439, 1440, 2000, 2999, 3000]) {
    const since = (points: ReadonlyArray<readonly [number, number]>) => points.filter(([time]) => time >= from * 60);
    assert.deepEqual(vwap(bars, 60, from), since(vwap(bars, 60)));
    assert.deepEqual(bollinger(bars, from), bollinger(bars).map(since));
  }
});

test("the last bar of a day of seconds costs what the last of twenty does", () => {
  const bars = Array.from({ length: 86_400 }, (_, at) => bar(at, 100 + (at % 7)));
  let looked = 0;
  const counted = bars.map((one) => ({ ...one, get close() { looked++; return one.close; } }));
  const [upper] = bollinger(counted, bars.length - 1);
  assert.deepEqual([upper.length, looked], [1, 20]);
});

test("Bollinger bands lie around the mean of twenty closes", () => {
  const [upper, lower] = bollinger(Array.from({ length: 20 }, (_, at) => bar(at, at % 2 ? 11 : 9)));
  assert.deepEqual([upper, lower], [[[19, 12]], [[19, 8]]]);
});

test("an address says the same again, and nonsense in it is left out", () => {
  const route = readRoute("?view=coverage&symbol=ETHUSDT&interval=4h&overlays=vwap,sma,junk&panes=macd");
  assert.deepEqual(route, { view: "coverage", symbol: "ethusdt", interval: "4h", overlays: ["sma", "vwap"], panes: ["macd"] });
  assert.deepEqual(readRoute(writeRoute(route)), route);
  assert.deepEqual(readRoute(writeRoute({ ...route, overlays: [] })).overlays, []);
  assert.deepEqual(readRoute("?view=x&interval=toString"), readRoute(""));
});

test("a move is measured against every price within its window", () => {
  const alert: Alert = { id: 1, symbol: "x", kind: "move", value: 1, windowS: 10, firedMs: null, trail: [] };
  const after = [[0, 100], [5000, 100.5], [20_000, 101.2], [21_000, 102.3]].reduce((one, [nowMs, price]) => looked(one, { nowMs: nowMs!, price: price!, tradedMs: 0 }), alert);
  assert.equal(after.firedMs, 21_000);
  assert.equal(words(alert, 2), "X moves by 1.00 % within 10 s");
});

test("numbers have the places of the coin's tick, and spans are as people say them", () => {
  assert.deepEqual([0.01, 1, 0.00000001, 0.00005].map(places), [2, 0, 8, 5]);
  assert.equal(decimal(61840.7, 2), "61,840.70");
  assert.deepEqual([percent(-0.256), percent(1), percent(Number.NaN)], ["−0.26 %", "+1.00 %", "–"]);
  assert.deepEqual([400, 42_000, 187_000, 7_500_000, 360_000_000].map(span), ["0.4 s", "42 s", "3 min 07 s", "2 h 05 min", "4 d 4 h"]);
  assert.equal(clock(Date.parse("2026-01-01T01:02:03.045Z"), true), "01:02:03.045");
  assert.deepEqual([quantile([3, 1, 2], 0.5), quantile([], 0.5)], [2, Number.NaN]);
});

test("what does not move, or is not known, goes neither up nor down", () => {
  assert.deepEqual([0.1, -0.1, 0, Number.NaN].map(way), ["up", "down", false, false]);
});

test("of alerts that were kept, what is none is left out", () => {
  const alert = { id: 1, symbol: "btcusdt", kind: "above", value: 5, windowS: 60, firedMs: null, trail: [] };
  const wrong = [null, 7, "above", {}, { ...alert, kind: "beside" }, { ...alert, value: null }, { ...alert, symbol: 7 }, { ...alert, firedMs: 1e300 }, { ...alert, id: "1" }];
  assert.deepEqual(readAlerts(JSON.stringify([...wrong, { ...alert, more: true, trail: 7 }])), [alert]);
  for (const text of ["", "{", "{}", "null", "7"]) assert.deepEqual(readAlerts(text), []);
});

test("prices far below a cent keep all their places", () => {
  assert.deepEqual([places(1e-8), places(1e-7), places(0.00001234)], [8, 7, 8]);
  assert.equal(decimal(1.2e-7, places(1e-8)), "0.00000012");
});
