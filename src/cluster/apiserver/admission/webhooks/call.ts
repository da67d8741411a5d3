import type { IncomingMessage } from "node:http";
import { type Agent, request as httpsRequest } from "node:https";
import type { Clock } from "../../../../kernel/clock/index.js";
import { ArgosyError, messageOf } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { type Connect, ConnectingAgent } from "../../../../kernel/netns/index.js";
import { isObject, objectAt, stringAt, stringsAt } from "../../fields.js";
import { listPrefix, objectKey } from "../../store/keys.js";
import type { Store } from "../../types.js";
import type { Webhook } from "./match.js";

const maxAnswerBytes = 4 * 1024 * 1024;
const maxAgents = 64;

/** A webhook that could not be asked, or answered what cannot be used. */
export class WebhookError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("WebhookFailed", message, options);
  }
}

/** The webhook could not be asked, or did not answer as an HTTP server that is well. */
export class CallError extends WebhookError {}

/** Asks webhooks over HTTPS; connections are kept by CA. */
export interface WebhookCaller {
  /** The `response` of the AdmissionReview. Throws `WebhookError`. */
  ask(webhook: Pick<Webhook, "spec">, review: JsonObject): Promise<JsonObject>;
  close(): void;
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Name that the certificate must have. */
  readonly serverName: string;
}

/** `store` resolves webhooks that are named by Service. */
export function webhookCaller(
  store: Store,
  { clock, connect }: { readonly clock: Clock; readonly connect: Connect },
): WebhookCaller {
  const agents = new Map<string, Agent>();
  const agentFor = (caBundle: string): Agent => {
    const known = agents.get(caBundle);
    if (known !== undefined) return known;
    const oldest = agents.keys().next();
    if (agents.size >= maxAgents && oldest.done !== true) {
      agents.get(oldest.value)?.destroy();
      agents.delete(oldest.value);
    }
    const ca = Buffer.from(caBundle, "base64").toString("utf8");
    const agent = new ConnectingAgent(connect, {
      minVersion: "TLSv1.2",
      ...(caBundle === "" ? {} : { ca }),
    });
    agents.set(caBundle, agent);
    return agent;
  };
  return {
    async ask({ spec }, review) {
      const config = objectAt(spec, "clientConfig");
      const seconds = spec["timeoutSeconds"];
      const timeoutMs = (typeof seconds === "number" ? Math.min(Math.max(seconds, 1), 30) : 10) * 1000;
      const exchange = {
        agent: agentFor(stringAt(config, "caBundle")),
        clock,
        timeoutMs,
        body: JSON.stringify(review),
      };
      const text = await send(store, config, exchange);
      return responseIn(text, stringAt(objectAt(review, "request"), "uid"));
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
    },
  };
}

/** Throws `CallError`, in the words of Go's HTTP client where there was no answer. */
async function send(store: Store, config: JsonObject, exchange: Exchange): Promise<string> {
  const query = `?timeout=${exchange.timeoutMs / 1000}s`;
  try {
    const place = placeOf(store, config);
    return await post({ ...place, path: place.path + query }, exchange);
  } catch (error) {
    if (error instanceof CallError) throw error;
    throw new CallError(`Post ${JSON.stringify(addressOf(config) + query)}: ${causeOf(error)}`, { cause: error });
  }
}

/** A webhook that is named by Service goes by the Service's name. */
function addressOf(config: JsonObject): string {
  const url = stringAt(config, "url");
  if (url !== "") return url;
  const reference = objectAt(config, "service");
  const port = typeof reference["port"] === "number" ? reference["port"] : 443;
  const host = `${stringAt(reference, "name")}.${stringAt(reference, "namespace")}.svc`;
  return `https://${host}:${port}${stringAt(reference, "path") || "/"}`;
}

const systemErrors: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "i/o timeout",
};

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return messageOf(error);
  const facts = new Map<string, unknown>(Object.entries(error));
  const fact = (name: string): string => {
    const found = facts.get(name);
    return typeof found === "string" || typeof found === "number" ? String(found) : "";
  };
  if (fact("code") === "ENOTFOUND") return `dial tcp: lookup ${fact("hostname")}: no such host`;
  const known = systemErrors[fact("code")];
  const address = fact("address");
  if (known === undefined || address === "") return messageOf(error);
  return `dial tcp ${address.includes(":") ? `[${address}]` : address}:${fact("port")}: ${known}`;
}

function placeOf(store: Store, config: JsonObject): Place {
  const url = stringAt(config, "url");
  if (url !== "") {
    if (!URL.canParse(url) || !url.startsWith("https://")) throw new WebhookError(`the webhook's url is no https URL`);
    const { hostname, port, pathname, search } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, "");
    return { host, port: port === "" ? 443 : Number(port), path: pathname + search, serverName: host };
  }
  const reference = objectAt(config, "service");
  const [namespace, name] = [stringAt(reference, "namespace"), stringAt(reference, "name")];
  const port = typeof reference["port"] === "number" ? reference["port"] : 443;
  return {
    ...endpointOf(store, { namespace, name, port }),
    path: stringAt(reference, "path") || "/",
    serverName: `${name}.${namespace}.svc`,
  };
}

/** A ready address behind a Service's port. */
function endpointOf(
  store: Store,
  { namespace, name, port }: { namespace: string; name: string; port: number },
): { host: string; port: number } {
  const service = store.get(objectKey({ group: "", plural: "services" }, namespace, name))?.value;
  if (service === undefined) throw new WebhookError(`service "${name}" not found`);
  const ports = objectAt(service, "spec")["ports"];
  const chosen = Array.isArray(ports) ? ports.filter(isObject).find((item) => item["port"] === port) : undefined;
  if (chosen === undefined) throw new WebhookError(`no service port ${port} found for service "${name}"`);
  const slices = store.list(listPrefix({ group: "discovery.k8s.io", plural: "endpointslices" }, namespace)).items;
  for (const { value } of slices) {
    if (objectAt(objectAt(value, "metadata"), "labels")["kubernetes.io/service-name"] !== name) continue;
    const target = listOf(value, "ports").find((item) => stringAt(item, "name") === stringAt(chosen, "name"))?.["port"];
    const ready = listOf(value, "endpoints").find((item) => objectAt(item, "conditions")["ready"] !== false);
    const host = ready === undefined ? undefined : stringsAt(ready, "addresses")[0];
    if (typeof target === "number" && host !== undefined) return { host, port: target };
  }
  throw new WebhookError(`no endpoints available for service "${name}"`);
}

function listOf(object: JsonObject, field: string): JsonObject[] {
  const list = object[field];
  return Array.isArray(list) ? list.filter(isObject) : [];
}

interface Exchange {
  readonly agent: Agent;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly body: string;
}

/** A kept connection that the other end gave up meanwhile says nothing about the webhook: it is asked once more. */
async function post(place: Place, exchange: Exchange): Promise<string> {
  for (;;) {
    const answer = await postOnce(place, exchange);
    if (answer !== undefined) return answer;
  }
}

/** `undefined` when a kept connection was of no use any more. */
function postOnce(
  { host, port, path, serverName }: Place,
  { agent, clock, timeoutMs, body }: Exchange,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      accept: "application/json",
      "content-length": Buffer.byteLength(body),
    };
    // A name in the handshake is allowed for DNS names only; certificates are checked against it all the same.
    const outgoing = httpsRequest({
      host,
      port,
      path,
      method: "POST",
      headers,
      agent,
      servername: /[a-z]/i.test(serverName) && !serverName.includes(":") ? serverName : "",
    });
    const timer = clock.setTimer(timeoutMs, () => outgoing.destroy(new WebhookError("context deadline exceeded")));
    const fail = (error: unknown) => {
      timer.cancel();
      reject(error);
    };
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      if (!outgoing.reusedSocket || (error.code !== "ECONNRESET" && error.code !== "EPIPE")) return fail(error);
      timer.cancel();
      resolve(undefined);
    });
    outgoing.on("response", (response) => {
      readBounded(response).then((text) => {
        timer.cancel();
        const { statusCode = 0 } = response;
        if (statusCode >= 200 && statusCode < 300) resolve(text);
        else fail(new CallError(`the server responded with status code ${statusCode}`));
      }, fail);
    });
    outgoing.end(body);
  });
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.length;
    if (size > maxAnswerBytes) throw new CallError("the webhook's answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function responseIn(text: string, uid: string): JsonObject {
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch {
    throw new WebhookError("the webhook's answer is not valid JSON");
  }
  const response = isObject(review) ? review["response"] : undefined;
  if (!isObject(response)) throw new WebhookError("webhook response was absent");
  if (stringAt(response, "uid") !== uid) throw new WebhookError(`expected response.uid=${JSON.stringify(uid)}`);
  return response;
}
