// What a browser keeps for the page; one that keeps nothing (it may be told not to) forgets it with the tab.

type Area = "localStorage" | "sessionStorage";

const forgotten = new Map<string, string>();

/** Return what was kept; empty where nothing was. */
export function kept(area: Area, name: string): string {
  try {
    return window[area].getItem(name) ?? "";
  } catch {
    return forgotten.get(name) ?? ""; // the mere look is refused where storage is blocked
  }
}

export function keep(area: Area, name: string, value: string): void {
  try {
    window[area].setItem(name, value);
  } catch {
    forgotten.set(name, value); // blocked, or full
  }
}
