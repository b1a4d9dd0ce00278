// Reads an AsyncAPI document from stdin and prints what the AsyncAPI parser finds wrong with it, as JSON.
import { Parser } from "@asyncapi/parser";
import { text } from "node:stream/consumers";

const { document, diagnostics } = await new Parser().parse(await text(process.stdin));
const found = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity }));
console.log(JSON.stringify({ found, messages: document?.messages().all().map((one) => one.name()) ?? [] }));
