import type { RequestHead } from "../../kernel/http1/index.js";
import type { Activator, Asking, Refusal } from "./activator.js";
import type { Choice, Endpoint, Route } from "./balance.js";
import { fieldIn } from "./sessions.js";

/** Bytes of a request that count as one more turn of its tenant. */
const BYTES_A_TURN = 65_536;
/** What a waiting request holds: its head, and of its body what is kept for a second sending and what came along. */
const HEAD_BYTES = 4096;
const MOST_BODY_BYTES = 131_072;
/** Header fields by which requests say that they are no load: of a gateway's health check, and of who asks whether a model answers. */
const CHECK = "x-argosy-check";
const PROBE = "x-argosy-probe";

/** Whether a request says of itself that it is no load. */
export const isNoLoad = (fieldOf: (name: string) => string | undefined): boolean =>
  fieldOf(CHECK) !== undefined || fieldOf(PROBE) !== undefined;

/** An answer in the gateway's own name, instead of a pod's. */
export type GateReply = Omit<Refusal, "reason"> & { readonly status: number; readonly reason: string };

/** What a gate needs of the exchange that it belongs to. */
export interface GateHost {
  readonly route: Route;
  /** The value of a field of the request's head. */
  fieldOf(name: string): string | undefined;
  granted(choice: Choice): void;
  refused(reply: GateReply): void;
}

/** One exchange's way past the activators of its route: at each attempt it asks, waits if it must, and in the end leaves. */
export class Gate {
  readonly #host: GateHost;
  #activator: Activator | undefined;
  #asking: Asking | undefined;
  #isWaiting = false;

  constructor(host: GateHost) {
    this.#host = host;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** How long it may wait, in milliseconds. */
  get waitMs(): number {
    return this.#activator?.table.waitMs ?? 0;
  }

  /** Asks for a pod; the answer may come within this call. False: nothing is held here, the request goes as on any other route. */
  ask(tried: readonly Endpoint[]): boolean {
    const host = this.#host;
    const { route } = host;
    // Neither of them is to wake a pod, or to be counted: who checks wants to know whether this is alive, who probes whether a pod answers.
    const isCheck = host.fieldOf(CHECK) !== undefined;
    const isProbe = host.fieldOf(PROBE) !== undefined;
    if (isCheck && !route.backends.some(({ isHealthy }) => isHealthy)) {
      const message = "there is no pod; requests are held until there is one";
      host.refused({ status: 200, reason: "NoPodNeeded", message, retryAfterSeconds: 0 });
      return true;
    }
    const activator = isCheck || isProbe ? undefined : route.chooseBackend(tried)?.activator;
    if (activator !== undefined) this.#enter(activator, tried);
    return activator !== undefined;
  }

  #enter(activator: Activator, tried: readonly Endpoint[]): void {
    const host = this.#host;
    const length = host.fieldOf("content-length");
    const isChunked = length === undefined && host.fieldOf("transfer-encoding") !== undefined;
    const bytes = isChunked ? MOST_BODY_BYTES : Number(length ?? 0) || 0;
    const tenant = activator.table.tenantHeaders.map((name) => host.fieldOf(name)).find((value) => value);
    const asking: Asking = {
      routeId: host.route.table.id,
      tried,
      tenant: tenant ?? "",
      cost: 1 + Math.floor(bytes / BYTES_A_TURN),
      bytes: HEAD_BYTES + Math.min(bytes, MOST_BODY_BYTES),
      granted: (choice) => {
        this.#isWaiting = false;
        host.granted(choice);
      },
      refused: (refusal) => {
        this.#isWaiting = false;
        this.#asking = undefined;
        host.route.unroutable++;
        host.refused({ status: 503, ...refusal });
      },
    };
    this.#activator = activator;
    this.#asking = asking;
    this.#isWaiting = true;
    activator.enter(asking);
  }

  /** It has waited for too long. */
  expire(): void {
    if (this.#asking !== undefined) this.#activator?.expire(this.#asking);
  }

  /** The attempt is over. `status` 0: without an answer. */
  leave(status: number): void {
    const asking = this.#asking;
    this.#asking = undefined;
    this.#isWaiting = false;
    if (asking !== undefined) this.#activator?.leave(asking, status);
  }
}

/** The gate of an HTTP/1.1 request. */
export function gateOf(
  { fields }: RequestHead,
  route: Route,
  granted: GateHost["granted"],
  refused: GateHost["refused"],
): Gate {
  return new Gate({ route, fieldOf: (name) => fieldIn(fields.rest, name), granted, refused });
}
