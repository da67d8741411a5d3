import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { labelIn } from "./numbered-models.js";

/** What came back. */
export interface Answer {
  /** 0: nothing came. */
  readonly status: number;
  readonly body: string;
  readonly tookMs: number;
}

/** Asks a host behind a gateway of the loopback. Never throws. */
export class Caller {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(port: number) {
    this.#port = port;
  }

  ask(host: string, path: string, body?: string, limitMs = 10_000): Promise<Answer> {
    const began = Date.now();
    return new Promise((resolve) => {
      const end = (status: number, text: string): void => resolve({ status, body: text, tookMs: Date.now() - began });
      const asked = request(
        {
          ...{ host: "127.0.0.1", port: this.#port, path, agent: this.#agent, timeout: limitMs },
          method: body === undefined ? "GET" : "POST",
          headers: { host, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        },
        (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (piece: string) => {
            text += piece;
          });
          answer.once("end", () => end(answer.statusCode ?? 0, text));
          answer.once("error", (error) => end(0, String(error)));
        },
      );
      asked.once("timeout", () => asked.destroy(new Error(`no answer within ${limitMs / 1000} s`)));
      asked.once("error", (error) => end(0, String(error)));
      asked.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** One request of a load. */
export interface Sent {
  readonly atMs: number;
  /** The model that answered; undefined: the request is lost. */
  readonly label: number | undefined;
  readonly answer: Answer;
}

/** Requests that flow until `stop`: several at a time, each client one after the other. */
export class Load {
  readonly sent: Sent[] = [];
  #isOver = false;
  readonly #ended: Promise<unknown>;

  constructor(send: () => Promise<Answer>, clients = 4) {
    this.#ended = Promise.all(Array.from({ length: clients }, () => this.#flow(send)));
  }

  async #flow(send: () => Promise<Answer>): Promise<void> {
    while (!this.#isOver) {
      const atMs = Date.now();
      const answer = await send();
      const label = answer.status === 200 ? labelIn(answer.body) : undefined;
      this.sent.push({ atMs, label, answer });
      await sleep(20);
    }
  }

  /** Those that got no prediction. */
  lost(sinceMs = 0): readonly Sent[] {
    return this.sent.filter(({ label, atMs }) => label === undefined && atMs >= sinceMs);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
  }
}
