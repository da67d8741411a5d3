import { JSON_SCHEMA, load } from "js-yaml";
import { Agent, request } from "undici";
import type { Json } from "../../../src/kernel/kinds/object.js";
import { Normaliser } from "./normalise.js";
import type { Answer, Scenario, Step } from "./types.js";

/** A server that scenarios are sent to. */
export interface Target {
  /** Runs one scenario; answers come without what servers may choose. */
  open(scenario: Pick<Scenario, "namespace">): Session;
  close(): Promise<void>;
}

/** The server hung up: real servers do so where they crash on a request. */
export const crashed: Answer = { status: 0, type: "", warnings: [], body: null };

/** Nothing was asked. */
const skipped: Answer = { status: -1, type: "", warnings: [], body: null };

function isPending({ until }: Step, { status, body, warnings }: Answer): boolean {
  // A real server's words while it makes its handlers of a changed definition anew.
  if (status === 503 && JSON.stringify(body).includes("apiserver is shutting down")) return true;
  if (until === undefined) return false;
  return (
    (until.status !== undefined && until.status !== status) ||
    (until.without !== undefined && JSON.stringify(body).includes(until.without)) ||
    (until.with !== undefined && !JSON.stringify([body, warnings]).includes(until.with))
  );
}

/** One scenario on one server: remembers what placeholders stand for. */
export interface Session {
  send(step: Step): Promise<Answer>;
}

/** A server behind HTTPS with a bearer token. */
export function openTarget(about: { readonly url: string; readonly caPem: string; readonly token: string }): Target {
  const dispatcher = new Agent({ connect: { ca: about.caPem }, connections: 4, bodyTimeout: 20_000 });
  return {
    open: () => new TargetSession(dispatcher, about),
    close: () => dispatcher.close(),
  };
}

class TargetSession implements Session {
  readonly #dispatcher: Agent;
  readonly #about: { readonly url: string; readonly token: string };
  readonly #chosen = new Map<string, string>();
  readonly #succeeded = new Set<number>();
  readonly #normaliser = new Normaliser();

  constructor(dispatcher: Agent, about: { readonly url: string; readonly token: string }) {
    this.#dispatcher = dispatcher;
    this.#about = about;
  }

  async send(step: Step): Promise<Answer> {
    if (step.after !== undefined && !this.#succeeded.has(step.after)) return skipped;
    let answer = await this.#answer(step);
    for (
      let attempt = 0;
      attempt < (step.until?.with === undefined ? 40 : 100) && isPending(step, answer);
      attempt += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      answer = await this.#answer(step);
    }
    if (answer.status >= 200 && answer.status < 300) this.#succeeded.add(step.id);
    return answer;
  }

  async #answer(step: Step): Promise<Answer> {
    // A connection that was just closed; twice in a row, the request itself is too much for the server.
    const answer = await this.#request(step).catch(() => this.#request(step).catch(() => undefined));
    if (answer === undefined) return crashed;
    const text = await answer.body.text();
    const type = String(answer.headers["content-type"] ?? "");
    const warnings = [answer.headers["warning"] ?? []].flat().map((warning) => this.#normaliser.text(warning));
    const body = parse(text, type);
    this.#remember(step.id, body);
    return { status: answer.statusCode, type, warnings: warnings.sort(), body: this.#normaliser.body(body) };
  }

  #request(step: Step): ReturnType<typeof request> {
    const hasBody = step.raw !== undefined || step.body !== undefined;
    return request(this.#about.url + this.#filled(step.path), {
      method: step.method as "GET",
      dispatcher: this.#dispatcher,
      headers: {
        authorization: `Bearer ${this.#about.token}`,
        "user-agent": "fuzz/1.0",
        ...(step.accept === undefined ? {} : { accept: step.accept }),
        ...(hasBody ? { "content-type": step.contentType ?? "application/json" } : {}),
        ...step.headers,
      },
      ...(hasBody ? { body: this.#filled(step.raw ?? JSON.stringify(step.body)) } : {}),
    });
  }

  #filled(text: string): string {
    return text.replaceAll(/\$\{(rv|uid|continue):(\d+)\}/g, (_, what: string, id: string) => {
      return this.#chosen.get(`${what}:${id}`) ?? (what === "rv" ? "1" : "none");
    });
  }

  #remember(id: number, body: Json): void {
    const metadata = member(body, "metadata");
    for (const [what, field] of Object.entries({ rv: "resourceVersion", uid: "uid", continue: "continue" })) {
      const value = member(metadata, field);
      if (typeof value === "string" && value !== "") this.#chosen.set(`${what}:${id}`, value);
    }
  }
}

function member(value: Json | undefined, name: string): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined;
}

/** The order of members is nobody's promise in YAML either. */
function asJson(text: string): Json {
  try {
    return JSON.parse(JSON.stringify(load(text, { schema: JSON_SCHEMA }))) as Json;
  } catch {
    return text;
  }
}

function parse(text: string, type: string): Json {
  if (type.startsWith("application/yaml")) return asJson(text);
  if (!type.startsWith("application/json")) return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    // A watch: a line each.
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        try {
          return JSON.parse(line) as Json;
        } catch {
          return line;
        }
      });
  }
}
