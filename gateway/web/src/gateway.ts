// The page's only way to the gateway: its public REST API and `/ws`, with the types that those documents say.

import type { Message, Paths } from "./api.ts";
import type { Received } from "./state.ts";
import { keep, kept } from "./storage.ts";

const base = new URL(".", location.href);
const TOKEN = "tickmesh token";

/** The token that a gateway may want, as it was typed in; forgotten with the tab. */
export const token = {
  get: (): string => kept("sessionStorage", TOKEN),
  set: (value: string): void => keep("sessionStorage", TOKEN, value),
};

/** An answer that is none, with its status and the gateway's own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** There was no answer. */
export class Lost extends Error {}

/** How long a connection that is being opened, or an answer that is on its way, may say nothing before it is given up. */
const PATIENCE_MS = 10_000;

async function ask(path: string, query: object, init: RequestInit = {}): Promise<unknown> {
  let [answer, body]: [Response, unknown] = [Response.error(), null];
  try {
    const [given, said] = await send(path, query, init);
    [answer, body] = [given, JSON.parse(said)];
  } catch (problem) {
    throw new Lost(`${path}: ${problem}`); // no network, silence, or an answer that was cut off
  }
  if (answer.ok) return body;
  throw new Refused(answer.status, (body as { message?: string }).message ?? `${answer.status} ${answer.statusText}`);
}

/** Send a request, and return its answer with all that it says. A slow network may take its time, as long as something comes. */
async function send(path: string, query: object, init: RequestInit): Promise<[Response, string]> {
  const headers = new Headers(init.headers);
  if (token.get() !== "") headers.set("Authorization", `Bearer ${token.get()}`);
  const silence = new AbortController();
  const wait = () => setTimeout(() => silence.abort(new Error("nothing came for a while")), PATIENCE_MS);
  let waiting = wait();
  try {
    const answer = await fetch(address(path, query, false), { ...init, headers, signal: silence.signal });
    const [reader, decoder] = [answer.body?.getReader(), new TextDecoder()];
    let said = "";
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      clearTimeout(waiting);
      waiting = wait();
      said += decoder.decode(part.value, { stream: true });
    }
    return [answer, said + decoder.decode()];
  } finally {
    clearTimeout(waiting);
  }
}

/** The address of a path, for a request or, with the token in it, for a link. */
export function address(path: string, query: object, asLink = true): string {
  const url = new URL(path.slice(1), base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  if (asLink && token.get() !== "") url.searchParams.set("token", token.get());
  return url.href;
}

/** Ask for what a path of the API has. */
export async function get<P extends keyof Paths>(path: P, query: Paths[P]["query"] = {}): Promise<Paths[P]["answer"]> {
  return (await ask(path, query)) as Paths[P]["answer"];
}

/** Select a coin for every service and client of this mesh. */
export async function select(symbol: string): Promise<void> {
  await ask("/api/symbol", {}, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ symbol }) });
}

/** Ask whether `/ws` may be opened: a browser does not tell why a WebSocket was refused, and a stream needs the same right. */
export async function admitted(): Promise<void> {
  const [{ status }] = await send("/api/watch", {}, { method: "HEAD" }).catch((problem: unknown) => Promise.reject(new Lost(String(problem))));
  if (status === 401 || status === 403) throw new Refused(status, "Live trades need the token of this mesh: API_TOKEN, or READ_TOKEN to look only.");
}

export interface Listener {
  opened(): void;
  received(received: readonly Received[]): void;
  closed(reason: string): void;
}

/** Messages that arrive within so long are handled together: more is not seen, and each drawing costs. */
const TOGETHER_MS = 50;
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [250, 8000];

/** One connection to `/ws` at a time, opened again whenever it is lost, later each time. */
export class Link {
  #socket: WebSocket | null = null;
  #waiting: Received[] = [];
  #waitMs = FIRST_WAIT_MS;
  #next = 1;
  readonly #answers = new Map<number, PromiseWithResolvers<number>>();

  constructor(readonly listener: Listener) {}

  open(): void {
    if (this.#socket !== null) return; // it was replaced meanwhile
    const url = new URL(address("/ws", { channels: "" }));
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.#socket = socket;
    // A network that swallows everything lets a browser wait for minutes, and the next attempt may succeed at once.
    const waiting = setTimeout(() => socket.close(), PATIENCE_MS);
    socket.onopen = () => {
      clearTimeout(waiting);
      this.#waitMs = FIRST_WAIT_MS;
      this.listener.opened();
    };
    socket.onmessage = ({ data }) => this.#receive({ message: JSON.parse(data as string) as Message, atMs: performance.now() });
    socket.onclose = ({ reason }) => {
      clearTimeout(waiting);
      if (this.#socket !== socket) return;
      this.#lose(reason);
      setTimeout(() => this.open(), this.#waitMs * (0.5 + Math.random() / 2));
      this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
    };
  }

  /** Give up a connection that has fallen silent; the next one is opened at once. */
  replace(): void {
    this.#socket?.close();
    this.#lose("the gateway has fallen silent");
    this.open();
  }

  /** Subscribe, and return the number of the subscription. */
  subscribe(request: object): Promise<number> {
    const id = this.#next++;
    const answer = Promise.withResolvers<number>();
    this.#answers.set(id, answer);
    this.#send({ op: "subscribe", id, ...request });
    return answer.promise;
  }

  unsubscribe(subscription: number): void {
    this.#send({ op: "unsubscribe", subscription });
  }

  /** Ask for a pong; its `id` is when the ping was sent. */
  ping(): void {
    this.#send({ op: "ping", id: String(performance.now()) });
  }

  #send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #lose(reason: string): void {
    this.#socket = null;
    for (const answer of this.#answers.values()) answer.reject(new Lost("the connection is lost"));
    this.#answers.clear();
    this.listener.closed(reason);
  }

  #receive(received: Received): void {
    const { message } = received;
    const answer = "id" in message ? this.#answers.get(Number(message.id)) : undefined;
    if (answer === undefined || message.type === "pong") {
      if (this.#waiting.push(received) === 1) setTimeout(() => this.#flush(), TOGETHER_MS);
      return;
    }
    this.#flush(); // what came before the answer is of before
    this.#answers.delete(Number((message as { id: unknown }).id));
    if (message.type === "subscribed") answer.resolve(message.subscription);
    else answer.reject(new Refused(400, (message as { message?: string }).message ?? ""));
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    const received = this.#waiting;
    this.#waiting = [];
    this.listener.received(received);
  }
}
