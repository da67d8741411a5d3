import type { Clock } from "../../../kernel/clock/index.js";
import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { parseJson } from "../../../kernel/schema/index.js";
import { asObject, asString } from "../registry/read.js";
import { listPrefix } from "../store/index.js";
import { forward, type NodeAgents, nodeAddress } from "../subresources/index.js";
import type { Store } from "../types.js";

/** What summaries are read with. */
export interface SummaryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly agents: NodeAgents;
}

/** What a node's agent said. */
export interface NodeSummary {
  readonly node: JsonObject;
  readonly summary: JsonObject;
}

/** Asked again within this time, a node is not asked again. */
const freshMs = 5000;
const patienceMs = 10_000;
const maxBytes = 16 * 1024 * 1024;

interface Kept {
  readonly atMs: number;
  readonly summary: Promise<JsonObject | undefined>;
}

/** Reads the figures of nodes from their agents, when somebody asks for them. */
export class NodeSummaries {
  readonly #options: SummaryOptions;
  readonly #kept = new Map<string, Kept>();

  constructor(options: SummaryOptions) {
    this.#options = options;
  }

  /** Of every node whose agent answers; `only`: of this one. */
  async read(only?: string): Promise<readonly NodeSummary[]> {
    const nodes = this.#options.store
      .list(listPrefix({ group: "", plural: "nodes" }, ""))
      .items.map(({ value }) => value)
      .filter((node) => only === undefined || nameOf(node) === only);
    const names = new Set(nodes.map(nameOf));
    if (only === undefined) for (const name of this.#kept.keys()) if (!names.has(name)) this.#kept.delete(name);
    const answers = await Promise.all(nodes.map((node) => this.#summaryOf(nameOf(node))));
    return nodes.flatMap((node, index) => {
      const summary = answers[index];
      return summary === undefined ? [] : [{ node, summary }];
    });
  }

  #summaryOf(name: string): Promise<JsonObject | undefined> {
    const nowMs = this.#options.clock.monotonicMs();
    const kept = this.#kept.get(name);
    if (kept !== undefined && nowMs - kept.atMs < freshMs) return kept.summary;
    const summary = this.#ask(name);
    this.#kept.set(name, { atMs: nowMs, summary });
    return summary;
  }

  /** A node that does not answer has no figures; the others have. */
  async #ask(name: string): Promise<JsonObject | undefined> {
    const { store, agents, clock, log } = this.#options;
    const stop = new AbortController();
    const timer = clock.setTimer(patienceMs, () => stop.abort());
    try {
      const place = {
        scheme: "https",
        ...nodeAddress(store, name),
        path: "/stats/summary",
        agent: agents.pool(),
      } as const;
      const request = { method: "GET", headers: {}, body: new Uint8Array(), signal: stop.signal };
      const { status, body } = await forward(place, request);
      const text = await textOf(body);
      return status === 200 ? asObject(parseJson(text)) : undefined;
    } catch (error) {
      const level = error instanceof ApiError ? "debug" : "warn";
      log[level]("a node's figures could not be read", { node: name, reason: messageOf(error) });
      return undefined;
    } finally {
      timer.cancel();
    }
  }
}

function nameOf(node: JsonObject): string {
  return asString(asObject(node["metadata"])["name"]);
}

async function textOf(body: Uint8Array | AsyncIterable<Uint8Array>): Promise<string> {
  if (body instanceof Uint8Array) return Buffer.from(body).toString("utf8");
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw new RangeError("the summary is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
