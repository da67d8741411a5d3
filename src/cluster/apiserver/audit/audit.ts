import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
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
  /** Who sends it. */
  isFrom(user: UserInfo): void;
  /** As whom, and for what; the first event is written now. */
  asks(user: UserInfo, info: RequestInfo): void;
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
  }

  asks(user: UserInfo, info: RequestInfo): void {
    this.#user = user;
    this.#info = info;
    this.#scope = this.#surroundings.policy.scopeOf(this.#sender, info);
    this.#write("RequestReceived");
  }

  annotate(key: string, value: string): void {
    if (Object.hasOwn(this.#annotations, key)) return;
    this.#annotations[key] = value.slice(0, maxAnnotationLength);
  }

  answered(response: ApiResponse): ApiResponse {
    this.#beSure();
    const { level, omitManagedFields } = this.#scope ?? { level: "None", omitManagedFields: true };
    const marked: ApiResponse = { ...response, headers: { ...response.headers, "audit-id": this.#id } };
    if (level === "None") return marked;
    const isStream = !(response.body instanceof Uint8Array);
    const body = level === "RequestResponse" && !isStream ? responseBody(response, omitManagedFields) : undefined;
    this.#outcome = { status: statusOf(response), body };
    if (!isStream || this.#info === undefined || !isLongRunning(this.#info)) {
      this.#write("ResponseComplete");
      return marked;
    }
    this.#write("ResponseStarted");
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

  /** Whoever failed to say who they are asked for something all the same. */
  #beSure(): void {
    if (this.#info !== undefined) return;
    const { method, path, query } = this.#request;
    try {
      this.#info = parseRequestInfo(method, path, query);
    } catch {
      this.#info = parseRequestInfo(method, "/", new URLSearchParams());
    }
    this.#scope = this.#surroundings.policy.scopeOf(this.#sender, this.#info);
    if (this.#sender === undefined) this.annotate("authentication.k8s.io/failed", "true");
  }

  #write(stage: AuditStage): void {
    const scope = this.#scope;
    const info = this.#info;
    if (scope === undefined || info === undefined || scope.level === "None" || scope.omitStages.includes(stage)) return;
    const isWhole = scope.level === "Request" || scope.level === "RequestResponse";
    const asked = isWhole && info.isResource ? requestBody(this.#request, scope.omitManagedFields) : undefined;
    const outcome = stage === "RequestReceived" ? undefined : this.#outcome;
    this.#surroundings.write({
      kind: "Event",
      apiVersion: "audit.k8s.io/v1",
      level: scope.level,
      auditID: this.#id,
      stage,
      requestURI: uriOf(this.#request),
      verb: info.verb,
      user: shown(this.#sender),
      ...(this.#user === undefined || this.#user === this.#sender ? {} : { impersonatedUser: shown(this.#user) }),
      sourceIPs: sourcesOf(this.#request),
      ...optional("userAgent", (this.#request.headers["user-agent"] ?? "").slice(0, 1024)),
      ...(info.isResource ? { objectRef: referenceOf(info) } : {}),
      ...(outcome === undefined ? {} : { responseStatus: outcome.status }),
      ...(asked === undefined || stage === "RequestReceived" ? {} : { requestObject: asked }),
      ...(outcome?.body === undefined ? {} : { responseObject: outcome.body }),
      requestReceivedTimestamp: microTime(this.#receivedAt),
      stageTimestamp: microTime(this.#surroundings.now()),
      ...(stage === "RequestReceived" || Object.keys(this.#annotations).length === 0
        ? {}
        : { annotations: { ...this.#annotations } }),
    });
  }
}

function uriOf({ path, query }: ApiRequest): string {
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

function referenceOf(info: RequestInfo): JsonObject {
  return {
    ...optional("resource", info.resource),
    ...optional("namespace", info.namespace),
    ...optional("name", info.name),
    ...optional("apiGroup", info.group),
    ...optional("apiVersion", info.version),
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
