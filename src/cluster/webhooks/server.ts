import type { IncomingMessage, ServerResponse } from "node:http";
import { createHttpsServer } from "../../kernel/https/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject } from "../../kernel/schema/index.js";
import { COMPLETE_PATH, PROBE, REVIEW_PATH } from "./configurations.js";
import { completeObject, denial, type ReviewContext, type ReviewRequest, readReview, reviewObject } from "./review.js";

/** What a server of admission webhooks is started with. */
export interface WebhookServerOptions extends ReviewContext {
  readonly certPem: string;
  readonly keyPem: string;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** A server that answers AdmissionReviews. */
export interface WebhookServer {
  readonly port: number;
  /** What a probe is refused with, ` at ` and the path after it: whoever reads it knows that this server was asked, and no other. */
  readonly mark: string;
  setCertificate(certPem: string, keyPem: string): void;
  close(): Promise<void>;
}

/** An object as it is and as it was, and what is said about them. */
const MOST_BYTES = 16 * 1024 * 1024;
const MOST_AT_ONCE = 512;
const IDLE_MS = 30_000;

/** Starts one. Throws `ArgosyError` when it cannot listen. */
export async function startWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  const { certPem, keyPem, host, clock, log, random } = options;
  const mark = `asked ${random.uuid()}`;
  let running = 0;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "").split("?")[0];
    if (request.method !== "POST" || (path !== COMPLETE_PATH && path !== REVIEW_PATH)) {
      end(response, 404, { message: `there are POST ${COMPLETE_PATH} and ${REVIEW_PATH}` });
      return;
    }
    if (running >= MOST_AT_ONCE) {
      end(response, 503, { message: "too many reviews at once" });
      return;
    }
    running += 1;
    try {
      const asked = await readAsked(request);
      if (typeof asked === "number") {
        end(response, asked, { message: "not an AdmissionReview that can be read" });
        return;
      }
      const said = isProbe(asked)
        ? denial(asked.uid, `${mark} at ${path}`)
        : path === COMPLETE_PATH
          ? completeObject(asked, options)
          : await reviewObject(asked, options);
      end(response, 200, { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: said });
    } finally {
      running -= 1;
    }
  };
  const server = createHttpsServer({
    certPem,
    keyPem,
    host,
    port: options.port,
    clock,
    log,
    idleMs: IDLE_MS,
    answer: (request, response) =>
      void answer(request, response).catch((error: unknown) => {
        log.warn("an admission review was not answered", { err: error });
        response.destroy();
      }),
  });
  const { port } = await server.start();
  return {
    port,
    mark,
    setCertificate: (cert, key) => server.setCertificate(cert, key),
    close: () => server.close(),
  };
}

function isProbe({ operation, object }: ReviewRequest): boolean {
  const labels = asObject(asObject(object?.["metadata"])["labels"]);
  return operation === "CREATE" && labels[PROBE.key] === PROBE.value;
}

/** The review that a request carries, or the status that says why there is none. */
async function readAsked(request: IncomingMessage): Promise<ReviewRequest | number> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request) {
    if (!(piece instanceof Uint8Array)) return 400;
    size += piece.byteLength;
    if (size > MOST_BYTES) return 413;
    pieces.push(piece);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(pieces).toString("utf8"));
    return readReview(body) ?? 400;
  } catch {
    return 400;
  }
}

function end(response: ServerResponse, status: number, body: JsonObject): void {
  response.writeHead(status, {
    "content-type": "application/json",
    ...(status === 200 ? {} : { connection: "close" }),
  });
  response.end(JSON.stringify(body));
}
