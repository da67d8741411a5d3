import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, failure, internalError, invalid, methodNotAllowed, notFound } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { ApiResponse, SubresourceContext, SubresourceHandler, Upgraded } from "../types.js";
import { duplexPair } from "./duplex-pair.js";
import type { NodeAgents } from "./node-agents.js";
import { type Destination, forward, forwardUpgrade, nodeAddress, refusalOf } from "./node-connection.js";
import { servePortForward } from "./spdy/port-forward.js";
import { commandStreams, connectCommand, serveRemoteCommand } from "./spdy/remote-command.js";

const pods = { group: "", plural: "pods" };

/** `pods/log`, `exec`, `attach`, `portforward`: carried out by the agent of the pod's node. */
export function podStreams(agents: NodeAgents): SubresourceHandler[] {
  return [
    {
      path: "pods/log",
      isLasting: true,
      async handle(context) {
        if (context.request.method !== "GET") throw methodNotAllowed();
        const query = logQuery(context);
        const pod = podOf(context);
        const container = containerOf(pod, context);
        // Nothing runs yet, so there is nothing to show.
        if (hostOf(pod) === "") return { status: 204, headers: {}, body: new Uint8Array() };
        const answer = await forward(toAgent(agents, context, pod, { path: ["containerLogs"], container, query }), {
          ...context.request,
          method: "GET",
          headers: {},
        });
        return answer.status >= 200 && answer.status <= 206 ? answer : refusedBy(answer);
      },
    },
    stream("exec", agents, execQuery),
    stream("attach", agents, execQuery),
    stream("portforward", agents, portQuery),
  ];
}

const maxRefusal = 50_000;

/** What a node's agent turns down in words is a Status of this server. */
async function refusedBy({ status, body }: ApiResponse): Promise<never> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body instanceof Uint8Array ? [body] : body) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > maxRefusal) break;
  }
  const text = Buffer.concat(chunks).subarray(0, maxRefusal).toString("utf8").trim();
  if (status === 400) throw badRequest(text);
  throw status === 404 ? failure(404, "NotFound", text) : internalError(text);
}

function stream(
  name: "exec" | "attach" | "portforward",
  agents: NodeAgents,
  queryOf: (asked: URLSearchParams, name: string) => URLSearchParams,
): SubresourceHandler {
  const destination = (context: SubresourceContext): Destination => {
    const pod = podOf(context);
    const container = name === "portforward" ? undefined : containerOf(pod, context);
    if (hostOf(pod) === "") throw badRequest(`pod ${context.info.name} does not have a host assigned`);
    nodeAddress(context.store, hostOf(pod), "pods");
    const query = queryOf(context.request.query, name);
    const path = [name === "portforward" ? "portForward" : name];
    return toAgent(agents, context, pod, { path, query, ...(container === undefined ? {} : { container }) });
  };
  return {
    path: `pods/${name}`,
    async handle(context) {
      destination(context);
      throw badRequest("unable to upgrade: missing upgrade headers in request");
    },
    async upgrade(context) {
      const { request } = context;
      if (isSpdy(request)) {
        if (name === "portforward") return forwardOverSpdy(agents, context);
        return commandOverSpdy(destination(context), queryOf(request.query, name), request.headers);
      }
      return forwardUpgrade(destination(context), { ...request, body: new Uint8Array() });
    },
  };
}

function isSpdy(request: SubresourceContext["request"]): boolean {
  return /^spdy\/3\.1$/i.test(request.headers["upgrade"] ?? "");
}

/** kubectl names the ports in streams of its own, not in the query: they are taken apart here. */
function forwardOverSpdy(agents: NodeAgents, context: SubresourceContext): Upgraded {
  const pod = podOf(context);
  if (hostOf(pod) === "") throw badRequest(`pod ${context.info.name} does not have a host assigned`);
  const to = (port: number): Destination =>
    toAgent(agents, context, pod, { path: ["portForward"], query: new URLSearchParams({ port: String(port) }) });
  // Asked once before the upgrade: a node without address is refused with a status.
  to(1);
  const [near, far] = duplexPair();
  servePortForward(far, to).catch(() => far.destroy());
  const headers = { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": "portforward.k8s.io" };
  return { headers, socket: near };
}

const commandProtocol = "v4.channel.k8s.io";

async function commandOverSpdy(
  destination: Destination,
  query: URLSearchParams,
  headers: SubresourceContext["request"]["headers"],
): Promise<Upgraded> {
  const offered = (headers["x-stream-protocol-version"] ?? "").split(",").map((each) => each.trim());
  if (!offered.includes(commandProtocol))
    throw badRequest(
      `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(" ")}], server supports [${commandProtocol}]`,
    );
  const node = await connectCommand(destination, (answer) => refusalOf(destination, answer));
  const [near, far] = duplexPair();
  serveRemoteCommand(far, node, commandStreams(query)).catch(() => far.destroy());
  const answered = { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": commandProtocol };
  return { headers: answered, socket: near };
}

function podOf({ store, info }: SubresourceContext): JsonObject {
  const pod = store.get(objectKey(pods, info.namespace, info.name))?.value;
  if (pod === undefined) throw notFound(pods, info.name);
  return pod;
}

function hostOf(pod: JsonObject): string {
  return stringAt(objectAt(pod, "spec"), "nodeName");
}

/** The container that is meant: the named one, or the only one. Throws 400 in upstream's words. */
function containerOf(pod: JsonObject, { request, info }: SubresourceContext): string {
  const spec = objectAt(pod, "spec");
  const namesOf = (field: string) => {
    const list = spec[field];
    return Array.isArray(list) ? list.filter(isObject).map((container) => stringAt(container, "name")) : [];
  };
  const main = namesOf("containers");
  const all = [...namesOf("initContainers"), ...main, ...namesOf("ephemeralContainers")];
  const wanted = request.query.get("container") ?? "";
  if (wanted !== "") {
    if (all.includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${info.name}`);
  }
  const annotated = stringAt(
    objectAt(objectAt(pod, "metadata"), "annotations"),
    "kubectl.kubernetes.io/default-container",
  );
  if (main.length === 1) return main[0] ?? "";
  if (main.includes(annotated)) return annotated;
  throw badRequest(`a container name must be specified for pod ${info.name}, choose one of: [${all.join(" ")}]`);
}

function toAgent(
  agents: NodeAgents,
  { store, info }: SubresourceContext,
  pod: JsonObject,
  what: { path: readonly string[]; container?: string; query: URLSearchParams },
): Destination {
  const { host, port } = nodeAddress(store, hostOf(pod), "pods");
  const segments = [...what.path, info.namespace, info.name, ...(what.container === undefined ? [] : [what.container])];
  const query = what.query.toString();
  const path = `/${segments.map(encodeURIComponent).join("/")}${query === "" ? "" : `?${query}`}`;
  return { scheme: "https", host, port, path, agent: agents.pool() };
}

/** Flags of exec and attach under the names by which node agents know them. */
function execQuery(asked: URLSearchParams, name: string): URLSearchParams {
  const query = new URLSearchParams();
  const flags: [string, string][] = [
    ["stdin", "input"],
    ["stdout", "output"],
    ["stderr", "error"],
    ["tty", "tty"],
  ];
  for (const [from, to] of flags) if (isTrue(asked.get(from))) query.set(to, "1");
  if (!["input", "output", "error"].some((flag) => query.has(flag)))
    throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  for (const command of asked.getAll("command")) query.append("command", command);
  if (name === "exec" && !query.has("command"))
    throw badRequest("you must specify at least one command for the container");
  return query;
}

function portQuery(asked: URLSearchParams): URLSearchParams {
  const query = new URLSearchParams();
  const ports = [...asked.getAll("ports"), ...asked.getAll("port")].flatMap((value) => value.split(","));
  for (const port of ports.filter((value) => value !== "")) {
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
      throw badRequest(`port ${JSON.stringify(port.slice(0, 32))} must be a number between 1 and 65535`);
    query.append("port", port);
  }
  return query;
}

type Causes = { reason: string; message: string; field: string }[];

/** The options of a log request, checked as upstream's PodLogOptions. */
function logQuery({ request, info }: SubresourceContext): URLSearchParams {
  const asked = request.query;
  const query = new URLSearchParams();
  const causes: Causes = [];
  for (const flag of ["follow", "previous", "timestamps"]) if (isTrue(asked.get(flag))) query.set(flag, "true");
  const least = { tailLines: 0, limitBytes: 1, sinceSeconds: 1 };
  for (const [field, minimum] of Object.entries(least)) {
    const value = asked.get(field) ?? "";
    if (value === "") continue;
    if (/^-?\d{1,15}$/.test(value) && Number(value) >= minimum) query.set(field, value);
    else causes.push(wrongValue(field, value, `must be greater than or equal to ${minimum}`));
  }
  readSince(asked.get("sinceTime") ?? "", query, causes);
  const channel = asked.get("stream") ?? "";
  if (channel === "Stdout" || channel === "Stderr") query.set("stream", channel);
  else if (channel !== "" && channel !== "All")
    causes.push(wrongValue("stream", channel, `supported values: "All", "Stdout", "Stderr"`));
  if (causes.length > 0) throw invalid({ group: "", kind: "PodLogOptions" }, info.name, causes);
  return query;
}

function readSince(since: string, query: URLSearchParams, causes: Causes): void {
  if (since === "") return;
  if (query.has("sinceSeconds")) {
    const message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
    causes.push({ reason: "FieldValueForbidden", message, field: "" });
  } else if (Number.isNaN(Date.parse(since))) causes.push(wrongValue("sinceTime", since, "must be an RFC 3339 time"));
  else query.set("sinceTime", since);
}

function wrongValue(field: string, value: string, why: string): Causes[number] {
  return {
    reason: "FieldValueInvalid",
    message: `Invalid value: ${/^-?\d{1,15}$/.test(value) ? value : JSON.stringify(value.slice(0, 64))}: ${why}`,
    field,
  };
}

function isTrue(value: string | null): boolean {
  return value === "true" || value === "1" || value === "True" || value === "t";
}
