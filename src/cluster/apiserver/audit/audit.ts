import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { isLongRunning } from "../limits/index.js";
import { parseRequestInfo } from "../request/info.js";
import type { ApiRequest, ApiResponse, AuditNotes, RequestInfo, UserInfo } from "../types.js";
import { requestBody, responseBody, statusOf } from "./bodies.js";
import { AuditFile, type AuditFileOptions } from "./file.js";
import type { AuditPolicy, AuditScope, AuditStage } from "./policy.js";

export interface AuditOptions {
  readonly policy: AuditPolicy;
  readonly log: AuditFileOptions;
}

/** What notes requests. */
export interface Audit {
  begin(request: ApiRequest): Trail;
  close(): void;
}

/** What is noted of one request, from its arrival to its answer. */
export interface Trail extends AuditNotes {
  /** Who sends it; the first event is written now. */
  isFrom(user: UserInfo): void;
  /** As whom it is carried out. */
  actsAs(user: UserInfo): void;
  /** The request was answered so; returns the answer, marked with the event's id. */
  answered(response: ApiResponse): ApiResponse;
  /** The connection was handed on (exec, port-forward). */
  upgraded(): void;
  /** The stream that answered it is over. */
  ended(): void;
}

/** Opens the log. Throws what the file system says when it cannot be written. */
export function openAudit(
  options: AuditOptions,
  surroundings: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
): Audit {
  const { clock, random } = surroundings;
  const file = new AuditFile(options.log, surroundings);
  file.open();
  return {
    begin: (request) =>
      new RequestTrail(request, {
        policy: options.policy,
        id: random.uuid(),
        now: () => clock.now(),
        write: (event) => file.write(JSON.stringify(event)),
      }),
    close: () => file.close(),
  };
}

interface Surroundings {
  readonly policy: AuditPolicy;
  readonly id: string;
  now(): number;
  write(event: JsonObject): void;
}

const idPattern = /^[\w-]{1,64}$/;
const maxAnnotationLength = 10 * 1024;

class RequestTrail implements Trail {
  readonly #request: ApiRequest;
  readonly #surroundings: Surroundings;
  readonly #id: string;
  readonly #receivedAt: number;
  readonly #annotations: Record<string, string> = {};
  #sender: UserInfo | undefined;
  #user: UserInfo | undefined;
  #info: RequestInfo | undefined;
  #scope: AuditScope | undefined;
  #outcome: { readonly status: JsonObject; readonly body: JsonObject | undefined } | undefined;

  constructor(request: ApiRequest, surroundings: Surroundings) {
    this.#request = request;
    this.#surroundings = surroundings;
    const given = request.headers["audit-id"] ?? "";
    this.#id = idPattern.test(given) ? given : surroundings.id;
    this.#receivedAt = surroundings.now();
  }

  isFrom(user: UserInfo): void {
    this.#sender = user;
    this.#find();
    this.#write("RequestReceived");
  }

  actsAs(user: UserInfo): void {
    this.#user = user;
  }

  annotate(key: string, value: string): void {
    if (Object.hasOwn(this.#annotations, key)) return;
    this.#annotations[key] = value.slice(0, maxAnnotationLength);
  }

  answered(response: ApiResponse): ApiResponse {
    if (this.#info === undefined) this.#find();
    const marked: ApiResponse = { ...response, headers: { ...response.headers, "audit-id": this.#id } };
    const scope = this.#scope;
    const info = this.#info;
    if (scope === undefined || info === undefined || scope.level === "None") return marked;
    const isStream = !(response.body instanceof Uint8Array);
    const isWhole = scope.level === "RequestResponse" && !isStream;
    const body = isWhole ? responseBody(response, scope.omitManagedFields) : undefined;
    this.#outcome = { status: statusOf(response), body };
    // Whoever could not say who they are has not been let in: there is one event.
    if (this.#sender === undefined || isLongRunning(info)) this.#write("ResponseStarted");
    if (this.#sender === undefined) return marked;
    if (!isStream || !isLongRunning(info)) {
      this.ended();
      return marked;
    }
    return {
      ...marked,
      done: () => {
        response.done?.();
        this.ended();
      },
    };
  }

  upgraded(): void {
    this.#outcome = { status: { metadata: {}, code: 101 }, body: undefined };
    this.#write("ResponseStarted");
  }

  ended(): void {
    this.#write("ResponseComplete");
  }

  /** What is asked for, and how much of it is noted. */
  #find(): void {
    const { method, path, query } = this.#request;
    try {
      this.#info = parseRequestInfo(method, path, query);
    } catch {
      // A path that cannot be read is refused for that.
      this.#info = parseRequestInfo(method, "/", new URLSearchParams());
    }
    this.#scope = this.#surroundings.policy.scopeOf(this.#sender, this.#info);
  }

  #write(stage: AuditStage): void {
    const scope = this.#scope;
    const info = this.#info;
    if (scope === undefined || info === undefined || scope.level === "None" || scope.omitStages.includes(stage)) return;
    const isFirst = stage === "RequestReceived";
    const asked = isFirst || !info.isResource ? undefined : requestBody(this.#request, scope.omitManagedFields);
    const outcome = isFirst ? undefined : this.#outcome;
    this.#surroundings.write({
      kind: "Event",
      apiVersion: "audit.k8s.io/v1",
      level: scope.level,
      auditID: this.#id,
      stage,
      requestURI: uriOf(this.#request),
      verb: info.verb,
      user: shown(this.#sender),
      ...(isFirst || this.#user === undefined || this.#user === this.#sender
        ? {}
        : { impersonatedUser: shown(this.#user) }),
      sourceIPs: sourcesOf(this.#request),
      ...optional("userAgent", (this.#request.headers["user-agent"] ?? "").slice(0, 1024)),
      ...(info.isResource ? { objectRef: referenceOf(info, asked) } : {}),
      ...(outcome === undefined ? {} : { responseStatus: outcome.status }),
      ...(asked === undefined || scope.level === "Metadata" ? {} : { requestObject: asked }),
      ...(outcome?.body === undefined ? {} : { responseObject: outcome.body }),
      requestReceivedTimestamp: microTime(this.#receivedAt),
      stageTimestamp: microTime(this.#surroundings.now()),
      ...(isFirst || Object.keys(this.#annotations).length === 0 ? {} : { annotations: { ...this.#annotations } }),
    });
  }
}

function uriOf({ path, query }: ApiRequest): string {
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The object that is meant; a path that does not name it leaves that to the body. */
function referenceOf(info: RequestInfo, asked: Json | undefined): JsonObject {
  const isObjectSent = info.verb === "create" || info.verb === "update";
  const metadata = isObjectSent && isObject(asked) ? objectAt(asked, "metadata") : {};
  return {
    ...optional("resource", info.resource),
    ...optional("namespace", info.namespace),
    ...optional("name", info.name || stringAt(metadata, "name")),
    ...optional("uid", stringAt(metadata, "uid")),
    ...optional("apiGroup", info.group),
    ...optional("apiVersion", info.version),
    ...optional("resourceVersion", stringAt(metadata, "resourceVersion")),
    ...optional("subresource", info.subresource),
  };
}

function shown(user: UserInfo | undefined): JsonObject {
  if (user === undefined) return {};
  const extra: JsonObject = {};
  for (const [key, values] of Object.entries(user.extra ?? {})) extra[key] = [...values];
  return {
    username: user.username,
    ...optional("uid", user.uid ?? ""),
    groups: [...user.groups],
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

/** The client's address behind those that proxies say they forward for; requests of this process come from this machine. */
function sourcesOf({ headers, remoteAddress }: ApiRequest): string[] {
  const forwarded = (headers["x-forwarded-for"] ?? "")
    .split(",")
    .map((address) => address.trim())
    .filter((address) => /^[0-9a-fA-F.:]{2,45}$/.test(address))
    .slice(0, 16);
  return [...forwarded, remoteAddress ?? "127.0.0.1"];
}

function optional(name: string, value: string): Record<string, string> {
  return value === "" ? {} : { [name]: value };
}

function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}
