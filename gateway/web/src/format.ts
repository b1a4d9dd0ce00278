// Numbers and times as people read them. Pure.

/** Return how many decimal places a step has: 0.0001 has 4. */
export function places(step: number): number {
  let count = 0;
  while (count < 8 && Math.abs(step * 10 ** count - Math.round(step * 10 ** count)) > 1e-9) count++;
  return count;
}

const formats = new Map<number, Intl.NumberFormat>();

/** A number with thousands separated and so many places: 61,840.74. */
export function decimal(value: number, digits: number): string {
  let format = formats.get(digits);
  if (format === undefined) {
    format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(digits, format);
  }
  return format.format(value);
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A size that is only compared: 1.23M. */
export const compact = (value: number): string => short.format(value);

/** A change in per cent: +0.25 %, with a real minus. */
export function percent(value: number): string {
  return Number.isFinite(value) ? `${value < 0 ? "−" : "+"}${decimal(Math.abs(value), 2)} %` : "–";
}

/** Which way a change goes; false of none, and while it is unknown. */
export const way = (change: number): "up" | "down" | false => (change > 0 ? "up" : change < 0 ? "down" : false);

/** A span as people say it: 0.4 s, 42 s, 3 min 07 s, 2 h 05 min, 4 d 3 h. */
export function span(ms: number): string {
  const s = Math.max(0, ms / 1000);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** The time of day in UTC: 12:34:56, with milliseconds when asked for. */
export const clock = (ms: number, fine = false): string => new Date(ms).toISOString().slice(11, fine ? 23 : 19);

/** Date and minute in UTC: 2026-11-29 08:31. */
export const minute = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

/** The value below which a share of the values lies; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
