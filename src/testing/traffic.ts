import { type Transport, type TransportResponse, UnavailableError } from "../kernel/client/index.js";
import { systemClock } from "../kernel/clock/index.js";

/** Rounds without anything new after which servers are taken to be at rest. */
const quietRounds = 3;
/** How long each of these rounds takes beside its request, in real milliseconds. */
const roundMs = 3;
/** Servers that are never at rest must not hang a test for ever. */
const longestMs = 20_000;

/** What goes to and fro between this process and API servers of their own, so that virtual time can wait for it. */
export class Traffic {
  #open = 0;
  #arrived = 0;
  /** Servers that may have more to tell since they were last at rest: something was written there, or a watch began or brought something. */
  readonly #stirred = new Set<Transport>();

  /** The same transport, with everything that passes counted; `server` leads there too, uncounted. */
  through(transport: Transport, server: Transport): Transport {
    return {
      request: (request) => {
        const isStream = /[?&](watch|follow)=(true|1)/.test(request.path);
        // What is read changes nothing there.
        if (isStream || request.method !== "GET") this.#stirred.add(server);
        const answer = transport.request(request);
        return isStream ? this.#stream(answer, server) : this.#exchange(answer);
      },
      upgrade: (path, protocols, signal) => transport.upgrade(path, protocols, signal),
      close: () => transport.close(),
    };
  }

  /** Nothing is asked there any more. */
  forget(server: Transport): void {
    this.#stirred.delete(server);
  }

  /**
   * Resolves when no request is open and, over some rounds in which each server that was stirred answered a read, no watch brought
   * anything: what was written has reached whoever watches it. A loaded machine makes the reads, and so the rounds, longer.
   */
  async rest(): Promise<void> {
    if (this.#open === 0 && this.#stirred.size === 0) return;
    const endMs = systemClock.monotonicMs() + longestMs;
    for (let quiet = 0; quiet < quietRounds; ) {
      if (systemClock.monotonicMs() > endMs) throw new UnavailableError("the servers do not come to rest");
      const arrived = this.#arrived;
      await Promise.all([...this.#stirred].map((server) => ping(server)));
      await systemClock.sleep(roundMs);
      quiet = this.#open === 0 && this.#arrived === arrived ? quiet + 1 : 0;
    }
    this.#stirred.clear();
  }

  async #exchange(answer: Promise<TransportResponse>): Promise<TransportResponse> {
    this.#open += 1;
    this.#arrived += 1;
    try {
      const { status, headers, body } = await answer;
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      return { status, headers, body: replay(chunks) };
    } finally {
      this.#open -= 1;
    }
  }

  async #stream(answer: Promise<TransportResponse>, server: Transport): Promise<TransportResponse> {
    const { status, headers, body } = await this.#opened(answer);
    const count = (): void => {
      this.#arrived += 1;
      this.#stirred.add(server);
    };
    return {
      status,
      headers,
      body: (async function* () {
        for await (const chunk of body) {
          count();
          yield chunk;
        }
      })(),
    };
  }

  async #opened<T>(answer: Promise<T>): Promise<T> {
    this.#open += 1;
    this.#arrived += 1;
    try {
      return await answer;
    } finally {
      this.#open -= 1;
    }
  }
}

async function* replay(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** A read that goes down to the store; that it fails is the matter of whoever works there. */
async function ping(transport: Transport): Promise<void> {
  try {
    const { body } = await transport.request({ method: "GET", path: "/api/v1/namespaces/default" });
    for await (const _chunk of body);
  } catch {
    // A server that is going.
  }
}
