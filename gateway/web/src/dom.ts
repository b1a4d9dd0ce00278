// Making and changing elements, with as little work as there is change.

import type { Word } from "./state.ts";

type Props = Record<string, string | number | boolean | EventListener>;

/** Make an element: properties that begin with `on` are listeners, all others attributes. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: readonly (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else attribute(element, name, value);
  }
  element.append(...children);
  return element;
}

export function attribute(element: Element, name: string, value: string | number | boolean): void {
  const text = value === true ? "" : String(value);
  if (value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

export function text(element: Node, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}

export function svg(tag: string, props: Record<string, string | number> = {}, ...children: readonly Node[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Each state has a shape of its own, so that nobody has to know its colour. */
const SHAPES: Record<Word, string> = {
  LIVE: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z",
  QUIET: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zm0 2.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  STALE: "M8 1.5 15 14H1z",
  GAP: "M2 2h4.5v12H2zm7.500 0H14v12H9.500z",
  BLOCKED: "M2 2h12v12H2zM4.500 7v2h7V7z",
  SIM: "M8 .8 15.200 8 8 15.200.8 8z",
  OFFLINE: "M3.500 1.500 8 6l4.500-4.500 2 2L10 8l4.500 4.500-2 2L8 10l-4.500 4.500-2-2L6 8 1.500 3.500z",
};

/** A state by word, shape and colour; `show` changes it. */
export function badge(): { element: HTMLElement; show(word: Word): void } {
  const path = svg("path", { "fill-rule": "evenodd" });
  const word = h("span");
  const element = h("span", { class: "badge" }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, path), word);
  return {
    element,
    show: (now) => {
      attribute(element, "data-word", now);
      path.setAttribute("d", SHAPES[now]);
      text(word, now);
    },
  };
}

/** A line of values without axes, as wide and high as its place; `show` changes it. */
export function sparkline(): { element: SVGElement; show(values: readonly number[]): void } {
  const [line, area] = [svg("polyline"), svg("polygon")];
  const element = svg("svg", { class: "spark", viewBox: "0 0 100 32", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  return {
    element,
    show: (known) => {
      const values = known.length === 1 ? [known[0]!, known[0]!] : known;
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const points = values.map((value, at) => `${((at * 100) / Math.max(1, values.length - 1)).toFixed(1)},${(high === low ? 16 : 30 - ((value - low) * 28) / (high - low)).toFixed(1)}`);
      line.setAttribute("points", points.join(" "));
      area.setAttribute("points", `0,32 ${points.join(" ")} 100,32`);
      element.dataset["way"] = (values.at(-1) ?? 0) < (values[0] ?? 0) ? "down" : "up";
    },
  };
}
