/** One request's way through a graph. What a step is asked, and how, is the caller's; what follows from its answer is here. */
import { onAbort } from "../../kernel/clock/index.js";
import type { Random } from "../../kernel/clock/types.js";
import { ArgosyError } from "../../kernel/errors/index.js";
import { Message, merge } from "./message.js";
import type { Graph, GraphNode, GraphStep } from "./read.js";
import { ROOT } from "./validate.js";

/** Nothing came of the request as a whole; `message` is the cause. */
export class GraphFailure extends ArgosyError {
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super("GraphFailure", message, options);
    this.status = status;
  }
}

/** What a step, a node, or the graph came to. */
export interface Answer {
  readonly status: number;
  /** Without its body where that is a stream. */
  readonly message: Message;
  /** Only of what the whole graph answers with. */
  readonly stream?: AsyncIterable<Uint8Array>;
}

/** How a step is to be asked. */
export interface Asking {
  readonly node: GraphNode;
  readonly signal: AbortSignal;
  /** Its answer is the graph's: it may be a stream. */
  readonly isLast: boolean;
}

/** Asks a step that is a service. Rejects with a `GraphFailure` where there was no answer. */
export type AskStep = (step: GraphStep, request: Message, asking: Asking) => Promise<Answer>;

/** What a request's way depends on beside the graph. */
export interface Way {
  readonly ask: AskStep;
  readonly random: Pick<Random, "int">;
  readonly signal: AbortSignal;
}

/** Takes a request through a graph. Rejects with a `GraphFailure`. */
export function runGraph(graph: Graph, request: Message, { ask, random, signal }: Way): Promise<Answer> {
  return new Run(graph, ask, random).enter(ROOT, request, { signal, isLast: true });
}

/** What failed a request, for its sender. Source: KServe's router. */
export const failureBody = (cause: string): string => JSON.stringify({ error: "Failed to process request", cause });

const isGood = ({ status }: Answer): boolean => status >= 200 && status <= 299;

type Place = Omit<Asking, "node">;

class Run {
  readonly #graph: Graph;
  readonly #ask: AskStep;
  readonly #random: Way["random"];

  constructor(graph: Graph, ask: AskStep, random: Way["random"]) {
    this.#graph = graph;
    this.#ask = ask;
    this.#random = random;
  }

  async enter(name: string, request: Message, place: Place): Promise<Answer> {
    const node = this.#graph.nodes.get(name);
    if (node === undefined) throw new GraphFailure(500, `there is no node ${name}`);
    switch (node.type) {
      case "Sequence":
        return this.#sequence(node, request, place);
      case "Ensemble":
        return this.#ensemble(node, request, place.signal);
      case "Splitter":
        return this.#one(node, pickByWeight(node.steps, this.#random), request, place);
      case "Switch":
        return this.#one(node, pickByCondition(node.steps, request), request, place);
    }
  }

  #step(node: GraphNode, step: GraphStep, request: Message, place: Place): Promise<Answer> {
    return step.node === undefined
      ? this.#ask(step, request, { node, ...place })
      : this.enter(step.node, request, place);
  }

  async #one(node: GraphNode, step: GraphStep | undefined, request: Message, place: Place): Promise<Answer> {
    if (step !== undefined) return this.#step(node, step, request, place);
    const body = Buffer.from(failureBody("None of the routes matched with the switch condition"));
    return { status: 404, message: new Message(body, { "content-type": "application/json" }) };
  }

  async #sequence(node: GraphNode, request: Message, { signal, isLast }: Place): Promise<Answer> {
    let before: Answer | undefined;
    for (const [index, step] of node.steps.entries()) {
      if (before !== undefined && !isWanted(step, before)) return { ...before, status: 200 };
      const isEnd = index === node.steps.length - 1;
      before = await this.#step(node, step, inputOf(step, request, before), { signal, isLast: isLast && isEnd });
      if (step.isHard && !isGood(before)) return before;
    }
    if (before === undefined) throw new GraphFailure(500, `node ${node.name} has no steps`);
    return before;
  }

  async #ensemble(node: GraphNode, request: Message, outer: AbortSignal): Promise<Answer> {
    const controller = new AbortController();
    const unlink = onAbort(outer, () => controller.abort(outer.reason));
    const place = { signal: controller.signal, isLast: false };
    const all = node.steps.map((step) => this.#step(node, step, request, place));
    // Whoever comes later than the decision has nobody who hears of it.
    for (const each of all) each.catch(() => undefined);
    try {
      const parts: [string, Message][] = [];
      for (const [index, step] of node.steps.entries()) {
        const answer = await all[index];
        if (answer === undefined) continue;
        if (step.isHard && !isGood(answer)) return answer;
        if (answer.message.document() === undefined)
          throw new GraphFailure(500, `step ${step.label} of node ${node.name} did not answer with JSON`);
        parts.push([step.label, answer.message]);
      }
      return { status: 200, message: merge(parts) };
    } finally {
      unlink();
      controller.abort(new GraphFailure(499, "the answer is known already"));
    }
  }
}

/** Whether a sequence goes on with a step. Throws a `GraphFailure` where that cannot be told. */
function isWanted({ condition }: GraphStep, before: Answer): boolean {
  if (condition === undefined) return true;
  const document = before.message.document();
  if (document === undefined) throw new GraphFailure(500, "invalid response");
  return condition(document);
}

function inputOf({ takesResponse, renames }: GraphStep, request: Message, before: Answer | undefined): Message {
  if (!takesResponse || before === undefined) return request;
  return renames ? before.message.renamed() : before.message;
}

/** A step by chance: as many of a hundred as its weight says. */
export function pickByWeight(steps: readonly GraphStep[], random: Way["random"]): GraphStep | undefined {
  const point = random.int(100);
  let end = 0;
  for (const step of steps) {
    end += step.weight;
    if (point < end) return step;
  }
  return undefined;
}

/** The first step whose condition holds of the request; none where that is no JSON. */
function pickByCondition(steps: readonly GraphStep[], request: Message): GraphStep | undefined {
  const document = request.document();
  return document === undefined ? undefined : steps.find(({ condition }) => condition?.(document) === true);
}
