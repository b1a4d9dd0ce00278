// The candles of one coin with what is drawn over and below them; `lightweight-charts` draws, this tells it what.

import { CandlestickSeries, type CandlestickData, createChart, CrosshairMode, HistogramSeries, type IChartApi, type ISeriesApi, LineSeries, type LineData, type UTCTimestamp, type WhitespaceData } from "lightweight-charts";
import { type Bar, bollinger, type Point, vwap } from "./candles.ts";
import { h, text } from "./dom.ts";
import { decimal, minute, clock } from "./format.ts";
import { INTERVALS, type Overlay, type Pane } from "./route.ts";
import { type CoinState, KEPT_BARS, MOST_BARS, type State } from "./state.ts";

type Values = Array<LineData<UTCTimestamp> | WhitespaceData<UTCTimestamp>>;
/** The values of the bars from an index on: most drawings change the last bar only, and a day has 86,400 of a second. */
type Lines = (bars: readonly Bar[], lengthS: number, from: number) => Values[];

const at = (time: number): UTCTimestamp => time as UTCTimestamp;
const points = (found: readonly Point[]): Values => found.map(([time, value]) => ({ time: at(time), value }));
const field = (name: "sma" | "ema" | "rsi" | "macd" | "signal" | "histogram") => (bars: readonly Bar[], from: number): Values =>
  bars.slice(from).map((bar) => (bar[name] === null ? { time: at(bar.time) } : { time: at(bar.time), value: bar[name] }));

/** What is drawn: its lines, in which pane, in which of the style sheet's colours. */
const DRAWN: Record<Overlay | Pane, { pane: boolean; colours: readonly string[]; lines: Lines }> = {
  sma: { pane: false, colours: ["--sma"], lines: (bars, _, from) => [field("sma")(bars, from)] },
  ema: { pane: false, colours: ["--ema"], lines: (bars, _, from) => [field("ema")(bars, from)] },
  vwap: { pane: false, colours: ["--vwap"], lines: (bars, lengthS, from) => [points(vwap(bars, lengthS, from))] },
  bollinger: { pane: false, colours: ["--bollinger", "--bollinger"], lines: (bars, _, from) => bollinger(bars, from).map(points) },
  rsi: { pane: true, colours: ["--rsi"], lines: (bars, _, from) => [field("rsi")(bars, from)] },
  macd: { pane: true, colours: ["--macd", "--signal", "--histogram"], lines: (bars, _, from) => [field("macd")(bars, from), field("signal")(bars, from), field("histogram")(bars, from)] },
};

type Line = ISeriesApi<"Line"> | ISeriesApi<"Histogram">;
const NEAR_THE_BEGINNING = 60;
const MOST_CORRECTED = 60;

export interface ChartView {
  readonly element: HTMLElement;
  draw(state: State): void;
  /** Take the colours of the theme that is shown now. */
  recolour(): void;
  /** The first and the last time that is seen, in seconds; null of none. */
  seen(): readonly [number, number] | null;
}

/**
 * Make the chart.
 * @param older is called when somebody scrolls near the first candle that is known.
 * @param forget is called with the state's key of the chart when there are too many, and the first ones are out of sight.
 */
export function chartView(older: () => void, forget: (key: string) => void): ChartView {
  const place = h("div", { class: "canvas", role: "img", tabindex: 0 });
  const legend = h("div", { class: "legend", "aria-hidden": "true" });
  const empty = h("p", { class: "empty" }, "Loading candles…");
  const standing = h("p", { class: "standing", role: "status" });
  const spoken = h("p", { class: "spoken", "aria-live": "polite" });
  const element = h("div", { class: "chart" }, place, legend, empty, standing, spoken);
  const chart: IChartApi = createChart(place, {
    autoSize: true,
    layout: { attributionLogo: false },
    crosshair: { mode: CrosshairMode.Normal },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.1, bottom: 0.22 } },
    timeScale: { borderVisible: false, timeVisible: true, rightOffset: 4, minBarSpacing: 1 },
    localization: { locale: "en", timeFormatter: (time: number) => `${minute(time * 1000)} UTC` },
  });
  const candles = chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineStyle: 1 });
  const volumes = chart.addSeries(HistogramSeries, { priceScaleId: "volume", lastValueVisible: false, priceLineVisible: false, priceFormat: { type: "volume" } });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
  const lines = new Map<Overlay | Pane, Line[]>();
  let [state, bars, shown]: [State | null, readonly Bar[], State | null] = [null, [], null];
  let digits = Number.NaN;
  let colours: (name: string) => string = () => "";
  /** The time of the candle that the mouse is on, and of the one that keys have gone to. */
  let [pointed, walked]: [number | null, number | null] = [null, null];

  chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
    if (range !== null && range.from < NEAR_THE_BEGINNING) older();
  });
  chart.subscribeCrosshairMove(({ time }) => {
    pointed = time === undefined ? null : (time as number);
    describe();
  });
  place.addEventListener("blur", () => {
    if (walked !== null) chart.clearCrosshairPosition();
    walked = null;
  });
  place.addEventListener("keydown", (event) => {
    const scale = chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (range === null) return;
    const width = range.to - range.from;
    const moves: Record<string, () => void> = {
      ArrowLeft: () => scale.scrollToPosition(scale.scrollPosition() - width / 10, false),
      ArrowRight: () => scale.scrollToPosition(scale.scrollPosition() + width / 10, false),
      Home: () => scale.setVisibleLogicalRange({ from: 0, to: width }),
      End: () => scale.scrollToRealTime(),
      ",": () => point(-1),
      ".": () => point(1),
      "+": () => scale.setVisibleLogicalRange({ from: range.from + width / 5, to: range.to }),
      "-": () => scale.setVisibleLogicalRange({ from: range.from - width / 5, to: range.to }),
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    move();
  });

  /** Move the crosshair by so many candles, and say the one that it is on then. */
  function point(step: number): void {
    const from = walked === null ? bars.length : bars.findIndex((one) => one.time === walked);
    const bar = bars[Math.max(0, Math.min(bars.length - 1, from + step))];
    const coin = state?.coins.get(state.route.symbol);
    if (bar === undefined || coin === undefined) return;
    chart.setCrosshairPosition(bar.close, at(bar.time), candles);
    walked = bar.time;
    describe();
    text(spoken, `${began(bar)} UTC: ${read(bar, coin)}`);
  }

  const began = ({ time }: Bar): string => (INTERVALS[state!.route.interval] < 60 ? clock(time * 1000) : minute(time * 1000));
  const read = (bar: Bar, { digits: places, sizeDigits }: CoinState): string =>
    [...(["open", "high", "low", "close"] as const).map((name) => `${name} ${decimal(bar[name], places)}`), `volume ${decimal(bar.volume, sizeDigits)}`].join(", ");

  function recolour(): void {
    const style = getComputedStyle(document.documentElement);
    colours = (name) => style.getPropertyValue(name).trim();
    const line = { color: colours("--grid") };
    chart.applyOptions({
      layout: { fontFamily: style.fontFamily, fontSize: Math.round(parseFloat(style.fontSize) * 0.72), background: { color: colours("--panel") }, textColor: colours("--muted"), panes: { separatorColor: colours("--line"), separatorHoverColor: colours("--grid") } },
      grid: { vertLines: line, horzLines: line },
      crosshair: { vertLine: { color: colours("--muted"), labelBackgroundColor: colours("--accent") }, horzLine: { color: colours("--muted"), labelBackgroundColor: colours("--accent") } },
    });
    candles.applyOptions({ upColor: colours("--up"), downColor: colours("--down"), wickUpColor: colours("--up"), wickDownColor: colours("--down") });
    for (const [name, series] of lines) series.forEach((one, index) => one.applyOptions({ color: colours(DRAWN[name].colours[index]!) }));
    if (state !== null) fill(state);
  }

  const candle = (bar: Bar): CandlestickData<UTCTimestamp> => ({ time: at(bar.time), open: bar.open, high: bar.high, low: bar.low, close: bar.close });
  const volume = (bar: Bar) => ({ time: at(bar.time), value: bar.volume, color: colours(bar.close < bar.open ? "--down-soft" : "--up-soft") });

  function fill({ route, chart: { key } }: State): void {
    const other = key !== shown?.chart.key;
    candles.setData(bars.map(candle));
    volumes.setData(bars.map(volume));
    for (const [name, series] of lines) DRAWN[name].lines(bars, INTERVALS[route.interval], 0).forEach((values, index) => series[index]!.setData(values));
    if (other && bars.length > 0) {
      chart.timeScale().applyOptions({ secondsVisible: INTERVALS[route.interval] < 60 });
      chart.priceScale("right").applyOptions({ autoScale: true });
      const wide = Math.min(place.clientWidth / 8, Math.max(40, bars.length), 140);
      chart.timeScale().setVisibleLogicalRange({ from: bars.length - wide, to: bars.length + 4 });
    }
  }

  /** Mostly the last bars change, and others follow them: they are told one by one, and all others stay as they are. */
  function update({ route }: State, from: number, lastTime: number): void {
    const lengthS = INTERVALS[route.interval];
    for (const bar of bars.slice(from)) {
      candles.update(candle(bar), bar.time < lastTime);
      volumes.update(volume(bar), bar.time < lastTime);
    }
    for (const [name, series] of lines)
      DRAWN[name].lines(bars, lengthS, from).forEach((values, index) => {
        for (const value of values) series[index]!.update(value, (value.time as number) < lastTime);
      });
  }

  function switchLines({ route }: State): void {
    const wanted: Array<Overlay | Pane> = [...route.overlays, ...route.panes];
    for (const [name, series] of lines) {
      if (wanted.includes(name)) continue;
      for (const one of series) chart.removeSeries(one);
      lines.delete(name);
    }
    for (const name of wanted) {
      if (lines.has(name)) continue;
      const { pane, colours: names } = DRAWN[name];
      const index = pane ? chart.panes().length : 0;
      const plain = { lastValueVisible: pane, priceLineVisible: false, crosshairMarkerVisible: false };
      lines.set(
        name,
        names.map((colour) =>
          colour === "--histogram"
            ? chart.addSeries(HistogramSeries, { ...plain, lastValueVisible: false, color: colours(colour) }, index)
            : chart.addSeries(LineSeries, { ...plain, lineWidth: name === "bollinger" ? 1 : 2, color: colours(colour) }, index),
        ),
      );
      if (name === "rsi") for (const price of [30, 70]) lines.get(name)![0]!.createPriceLine({ price, color: colours("--muted"), lineStyle: 2, lineWidth: 1, axisLabelVisible: false });
      chart.panes().forEach((one, at) => one.setStretchFactor(at === 0 ? 4 : 1));
    }
  }

  function draw(now: State): void {
    const [before, last] = [bars, state];
    const coin = now.coins.get(now.route.symbol);
    state = now;
    const other = last === null || last.chart.key !== now.chart.key;
    const switched = last?.route.overlays !== now.route.overlays || last.route.panes !== now.route.panes;
    if (switched) switchLines(now);
    if (coin !== undefined && coin.digits !== digits) {
      digits = coin.digits;
      candles.applyOptions({ priceFormat: { type: "price", precision: coin.digits, minMove: 10 ** -coin.digits } });
    }
    text(standing, now.chart.waiting && !now.waiting ? "Store does not answer: the candles stand still." : "");
    if (!other && !switched && last.chart.bars === now.chart.bars) return;
    bars = now.chart.bars;
    const from = bars.findIndex((bar, index) => bar !== before[index]);
    // Corrections are of the last few bars. Where one comes or goes between others, or there are many, all are told anew.
    const few = from >= 0 && from > before.length - MOST_CORRECTED && before.slice(from).every(({ time }, index) => bars[from + index]?.time === time);
    if (other || switched || (from >= 0 && !few)) fill(now);
    else if (few) update(now, from, before.at(-1)?.time ?? -Infinity);
    shown = now;
    const on = walked === null ? undefined : bars.find((one) => one.time === walked);
    if (on !== undefined) chart.setCrosshairPosition(on.close, at(on.time), candles); // new data take it away
    empty.hidden = bars.length > 0;
    text(empty, now.chart.key === "" ? "Loading candles…" : "No trade of this coin is stored yet.");
    describe();
    const seen = bars.length > MOST_BARS ? chart.timeScale().getVisibleLogicalRange() : null;
    if (seen !== null && seen.from > bars.length - KEPT_BARS + NEAR_THE_BEGINNING) forget(now.chart.key);
  }

  function describe(): void {
    const coin = state?.coins.get(state.route.symbol);
    const on = pointed ?? walked;
    const bar = on === null ? bars.at(-1) : bars.find((one) => one.time === on);
    if (coin === undefined || bar === undefined || state === null) return legend.replaceChildren();
    const price = (value: number): string => decimal(value, coin.digits);
    const parts = [["O", price(bar.open)], ["H", price(bar.high)], ["L", price(bar.low)], ["C", price(bar.close)], ["V", decimal(bar.volume, coin.sizeDigits)]] as const;
    const more = (["sma", "ema"] as const).filter((name) => state!.route.overlays.includes(name) && bar[name] !== null);
    legend.replaceChildren(
      h("span", { class: "when" }, began(bar)),
      ...parts.map(([name, value]) => h("span", { "data-way": bar.close < bar.open ? "down" : "up" }, h("i", {}, name), value)),
      ...more.map((name) => h("span", { class: name }, h("i", {}, name.toUpperCase()), price(bar[name]!))),
    );
    const said = `${coin.name}, candles of ${state.route.interval}: ${bars.length} candles. Last: ${read(bar, coin)}.`;
    if (on === null && document.activeElement !== place) place.setAttribute("aria-label", said);
  }

  function seen(): readonly [number, number] | null {
    const range = chart.timeScale().getVisibleRange();
    return range === null ? null : [range.from as number, range.to as number];
  }
  return { element, draw, recolour, seen };
}
