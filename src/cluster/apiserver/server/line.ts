import type { Logger } from "../../../kernel/log/index.js";
import type { Audit, Trail } from "../audit/index.js";
import type { Auth } from "../auth/index.js";
import { deniedBy, requestAttributes } from "../auth/index.js";
import {
  badRequest,
  isUnservedType,
  methodNotAllowed,
  methodNotSupported,
  notAcceptable,
  notFound,
  tooLarge,
  unknownResource,
  unservedPath,
} from "../failures.js";
import type { Limits, Ticket } from "../limits/index.js";
import type { ComputedResource } from "../node-metrics/index.js";
import type { FrameCache } from "../render/frames.js";
import { givesObjects } from "../render/shared.js";
import { maxBodyBytes, withJsonBody } from "../request/body.js";
import { parseRequestInfo } from "../request/info.js";
import { type Accepted, negotiate } from "../request/negotiate.js";
import type {
  ApiRequest,
  ApiResponse,
  RequestInfo,
  ResourceType,
  ScalePaths,
  SubresourceContext,
  SubresourceHandler,
  Upgraded,
  UserInfo,
  VirtualResource,
} from "../types.js";
import type { Call, Machinery } from "../verbs/context.js";
import { create } from "../verbs/create.js";
import { remove, removeCollection } from "../verbs/delete.js";
import { checkListOptions } from "../verbs/list-options.js";
import { patch } from "../verbs/patch.js";
import { get, list, listedObjects, listForm } from "../verbs/read.js";
import { scale, scaleCall } from "../verbs/scale.js";
import { submit } from "../verbs/submit.js";
import { update } from "../verbs/update.js";
import { watch } from "../verbs/watch.js";
import { answerHealth } from "./health.js";
import { lastingAnswer, lastingUpgrade } from "./lasting.js";
import {
  compressed,
  failureResponse,
  jsonResponse,
  listResponse,
  objectResponse,
  outcomeResponse,
  textResponse,
} from "./respond.js";
import { shownWarnings } from "./warnings.js";

/** Everything that the request line passes through. */
export interface LineParts extends Machinery {
  readonly auth: Pick<Auth, "authentication" | "authorizer" | "standing">;
  readonly subresources: readonly SubresourceHandler[];
  readonly virtualResources: readonly VirtualResource[];
  readonly computedResources: readonly ComputedResource[];
  readonly frames: FrameCache;
  readonly log: Logger;
  /** Paths besides those of resources, discovery and health. */
  readonly answerPath: (request: ApiRequest) => ApiResponse | undefined;
  /** Absent: users may ask as much as they like. */
  readonly limits?: Limits;
  /** Absent: no audit log is kept. */
  readonly audit?: Audit;
  /** Whether the server may be sent requests. */
  isReady(): boolean;
}

/** The request line: authentication, authorization, and then the verb. Never throws. */
export interface Line {
  handle(request: ApiRequest): Promise<ApiResponse>;
  /** The same as `user`, without asking who sends it. */
  handleAs(user: UserInfo, request: ApiRequest): Promise<ApiResponse>;
  /** For requests with an `upgrade` header; throws `ApiError`. */
  upgrade(request: ApiRequest): Promise<Upgraded>;
}

/** Puts the line together. */
export function createLine(parts: LineParts): Line {
  return new RequestLine(parts);
}

class RequestLine implements Line {
  readonly #parts: LineParts;
  readonly #handlers: ReadonlyMap<string, SubresourceHandler>;
  readonly #virtual: ReadonlyMap<string, VirtualResource>;
  readonly #computed: ReadonlyMap<ResourceType, ComputedResource>;

  constructor(parts: LineParts) {
    this.#parts = parts;
    this.#handlers = new Map(parts.subresources.map((handler) => [handler.path, handler]));
    this.#virtual = new Map(parts.virtualResources.map((resource) => [virtualKey(resource), resource]));
    this.#computed = new Map(parts.computedResources.map((resource) => [resource.type, resource]));
  }

  async handle(request: ApiRequest): Promise<ApiResponse> {
    const trail = this.#parts.audit?.begin(request);
    if (trail === undefined) return this.#handle(request);
    return this.#finish(request, trail.answered(await this.#handle({ ...request, audit: trail }, trail)));
  }

  async #handle(request: ApiRequest, trail?: Trail): Promise<ApiResponse> {
    let ticket: Ticket | undefined;
    try {
      const { authentication, authorizer } = this.#parts.auth;
      const user = await authentication.identify(request, authorizer, trail && ((sender) => trail.isFrom(sender)));
      const info = parseRequestInfo(request.method, request.path, request.query);
      trail?.actsAs(user);
      const entered = request.remoteAddress === undefined ? undefined : this.#parts.limits?.enter(user, info);
      if (typeof entered === "number") return tooManyRequests(entered);
      ticket = entered;
      const answer = await this.#dispatch(user, request, info);
      const response = trail === undefined ? await this.#finish(request, answer) : answer;
      return ticket === undefined ? response : withTicket(response, ticket);
    } catch (error) {
      ticket?.leave();
      return failureResponse(error, this.#parts.log, request);
    }
  }

  async handleAs(user: UserInfo, request: ApiRequest): Promise<ApiResponse> {
    try {
      const info = parseRequestInfo(request.method, request.path, request.query);
      return await this.#finish(request, await this.#dispatch(user, request, info));
    } catch (error) {
      return failureResponse(error, this.#parts.log, request);
    }
  }

  #finish(request: ApiRequest, response: ApiResponse): Promise<ApiResponse> | ApiResponse {
    return request.headers["accept-encoding"] === undefined ? response : compressed(request, response);
  }

  async upgrade(request: ApiRequest): Promise<Upgraded> {
    const trail = this.#parts.audit?.begin(request);
    if (trail === undefined) return this.#upgrade(request);
    try {
      const upgraded = await this.#upgrade({ ...request, audit: trail }, trail);
      trail.upgraded();
      upgraded.socket.once("close", () => trail.ended());
      return upgraded;
    } catch (error) {
      trail.answered(failureResponse(error, this.#parts.log, request));
      throw error;
    }
  }

  async #upgrade(request: ApiRequest, trail?: Trail): Promise<Upgraded> {
    const { authentication, authorizer } = this.#parts.auth;
    const user = await authentication.identify(request, authorizer, trail && ((sender) => trail.isFrom(sender)));
    const info = parseRequestInfo(request.method, request.path, request.query);
    trail?.actsAs(user);
    this.#authorize(user, info, request);
    const type = this.#typeOf(info);
    const handler = this.#handlerOf(info);
    if (handler?.upgrade === undefined) throw badRequest("this path cannot be upgraded");
    const { upgrade } = handler;
    const context = this.#subresourceContext({ request, info, type, user });
    return lastingUpgrade(this.#parts.auth.standing, context, (about) => upgrade(about));
  }

  async #dispatch(user: UserInfo, request: ApiRequest, info: RequestInfo): Promise<ApiResponse> {
    // Content is looked at when it is read.
    if (request.content === undefined && request.body.byteLength > maxBodyBytes) throw tooLarge(maxBodyBytes);
    this.#authorize(user, info, request);
    if (!info.isResource) return this.#answerNonResource(request);
    const type = this.#typeOf(info);
    const handler = this.#handlerOf(info);
    if (handler !== undefined) {
      // Those of others take every verb.
      if (!this.#handlers.has(ownPath(info))) checkSubresourceVerb(info, type);
      const context = this.#subresourceContext({ request: withJsonBody(request), info, type, user });
      if (handler.isLasting !== true) return handler.handle(context);
      return lastingAnswer(this.#parts.auth.standing, context, (about) => handler.handle(about));
    }
    checkName(info.name);
    checkVerb(request, info, type);
    const call: Call = {
      request,
      info,
      type,
      user,
      accepted: acceptedForm(request, info, { isCustom: type.custom, hasTable: this.#hasTable(info) }),
      warnings: type.deprecation === undefined ? [] : [type.deprecation],
    };
    const response = await this.#answerOrRefuse(call);
    return call.warnings.length === 0 ? response : { ...response, warnings: shownWarnings(call.warnings) };
  }

  #authorize(user: UserInfo, info: RequestInfo, request: ApiRequest): void {
    const attributes = requestAttributes(user, info, request);
    const { audit } = request;
    const { allowed, reason } = this.#parts.auth.authorizer.authorize(attributes);
    audit?.annotate("authorization.k8s.io/decision", allowed ? "allow" : "forbid");
    audit?.annotate("authorization.k8s.io/reason", reason);
    if (!allowed) throw deniedBy(attributes, reason);
  }

  #typeOf(info: RequestInfo): ResourceType {
    const type = this.#parts.registry.find(info.group, info.version, info.resource);
    if (type === undefined) throw this.#isNativeVersion(info) ? unknownResource() : unservedPath();
    const isInNamespace = info.namespace !== "" && info.resource !== "namespaces";
    if (isInNamespace && !type.namespaced) throw unknownResource();
    const needsNamespace = info.name !== "" && info.verb !== "list" && info.verb !== "watch";
    if (type.namespaced && !isInNamespace && needsNamespace && info.verb !== "deletecollection")
      throw unknownResource();
    const isServed = type.subresources.has(info.subresource) || this.#handlers.has(ownPath(info));
    if (info.subresource !== "" && !isServed) {
      if (type.custom) throw notFound(type, info.name);
      if (this.#handlerOf(info) === undefined) throw unknownResource();
    }
    return type;
  }

  /** Groups of definitions have no routes of their own: what is not there is nobody's path. */
  #isNativeVersion({ group, version }: RequestInfo): boolean {
    return this.#parts.registry.all().some((type) => !type.custom && type.group === group && type.version === version);
  }

  #handlerOf(info: RequestInfo): SubresourceHandler | undefined {
    if (info.subresource === "") return undefined;
    return this.#handlers.get(ownPath(info)) ?? this.#handlers.get(`${info.resource}/${info.subresource}`);
  }

  #hasTable(info: RequestInfo): boolean {
    return ["", "status", "scale"].includes(info.subresource) && this.#virtualOf(info) === undefined;
  }

  #virtualOf({ group, version, resource: plural, subresource }: RequestInfo): VirtualResource | undefined {
    return this.#virtual.get(virtualKey({ group, version, plural, subresource }));
  }

  #subresourceContext(about: Pick<SubresourceContext, "request" | "info" | "type" | "user">): SubresourceContext {
    return { ...about, store: this.#parts.store };
  }

  #answerNonResource(request: ApiRequest): ApiResponse {
    const known = answerHealth(request, this.#parts.isReady()) ?? this.#parts.registry.answer(request);
    return known ?? this.#parts.answerPath(request) ?? textResponse(404, "404 page not found\n");
  }

  /** A refusal carries the warnings that came up before it. */
  async #answerOrRefuse(call: Call): Promise<ApiResponse> {
    try {
      return await this.#answer(call);
    } catch (error) {
      return failureResponse(error, this.#parts.log, call.request);
    }
  }

  async #answer(call: Call): Promise<ApiResponse> {
    const parts = this.#parts;
    const computed = this.#computed.get(call.type);
    if (computed !== undefined) return computed.answer(call);
    const { verb, subresource } = call.info;
    if (subresource === "scale" && call.type.scale !== undefined) return scaleResponse(parts, call, call.type.scale);
    switch (verb) {
      case "get":
        return outcomeResponse(parts, call, await get(parts, call));
      case "list":
        // Of others the form is looked at after the selectors, as upstream does.
        return call.request.takesObjects === true && givesObjects(call, listForm(call))
          ? objectResponse(200, await listedObjects(parts, call))
          : listResponse(call, await list(parts, call));
      case "watch":
        return this.#answerWatch(call);
      case "create":
        return this.#answerCreate(call);
      case "update":
        return outcomeResponse(parts, call, await update(parts, call));
      case "patch":
        return outcomeResponse(parts, call, await patch(parts, call));
      case "delete":
        return outcomeResponse(parts, call, await remove(parts, call));
      case "deletecollection":
        return jsonResponse(200, await removeCollection(parts, call), call.accepted);
      default:
        throw methodNotAllowed();
    }
  }

  async #answerCreate(call: Call): Promise<ApiResponse> {
    const virtual = this.#virtualOf(call.info);
    if (virtual === undefined) return outcomeResponse(this.#parts, call, await create(this.#parts, call));
    const { body = call.type } = virtual;
    return outcomeResponse(this.#parts, { ...call, type: body }, await submit(this.#parts, call, virtual));
  }

  #answerWatch(call: Call): ApiResponse {
    const answer = watch({ ...this.#parts, standing: this.#parts.auth.standing }, call);
    const headers = { "content-type": "application/json", "cache-control": "no-cache, private" };
    return "events" in answer
      ? { status: 200, headers, body: nothing, events: answer.events }
      : { status: 200, headers, body: answer.body };
  }
}

const nothing = new Uint8Array();

/** As upstream's filters say it, which stand before its API machinery. */
function tooManyRequests(retryAfterSeconds: number): ApiResponse {
  const { status, headers, body } = textResponse(429, "Too many requests, please try again later.\n");
  return { status, headers: { ...headers, "retry-after": String(retryAfterSeconds) }, body };
}

/** What the request holds is given back when its answer is out. */
function withTicket(response: ApiResponse, ticket: Ticket): ApiResponse {
  if (response.body instanceof Uint8Array) ticket.holds(response.body.byteLength);
  return {
    ...response,
    done: () => {
      ticket.leave();
      response.done?.();
    },
  };
}

/** The form of the answer. A list or watch that is asked for wrongly is refused for that first, as upstream. */
function acceptedForm(
  { headers, query }: ApiRequest,
  info: RequestInfo,
  route: { readonly isCustom: boolean; readonly hasTable: boolean },
): Accepted {
  const verb = info.verb === "list" ? "list" : info.verb === "watch" ? "watch" : undefined;
  try {
    const accepted = negotiate(headers["accept"], { ...route, isCollection: verb !== undefined });
    if (verb === "watch" && accepted.format !== "json") throw notAcceptable(streams, true);
    return accepted;
  } catch (error) {
    if (verb !== undefined && !isUnservedType(error)) checkListOptions(query, verb);
    throw error;
  }
}

const streams = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

function virtualKey(about: Pick<VirtualResource, "group" | "version" | "plural" | "subresource">): string {
  return `${about.group}/${about.version}/${about.plural}/${about.subresource ?? ""}`;
}

/** Answered in the terms of Scale, which stands for a part of the object. */
async function scaleResponse(parts: LineParts, call: Call, paths: ScalePaths): Promise<ApiResponse> {
  const scaled = scaleCall(call);
  return outcomeResponse(parts, scaled, await scale(parts, scaled, call, paths));
}

/** Under which handlers of one group's resource are kept. */
function ownPath({ group, resource, subresource }: RequestInfo): string {
  return `${resource}.${group}/${subresource}`;
}

/** No object can be called so: refused before anyone looks for it. */
function checkName(name: string): void {
  const fault = name === "." || name === ".." ? `may not be '${name}'` : ["/", "%"].find((part) => name.includes(part));
  if (fault === undefined) return;
  const why = fault.length === 1 ? `may not contain '${fault}'` : fault;
  throw badRequest(`Name parameter invalid: ${JSON.stringify(name)}: ${why}`);
}

/** Refuses what the resource, or the place in the path, has no such verb for. */
function checkVerb(request: ApiRequest, info: RequestInfo, type: ResourceType): void {
  if (request.method === "HEAD") throw methodNotAllowed();
  const { verb, name, subresource } = info;
  // The old paths of watches say the verb, whatever the method.
  if (verb === "watch" && request.method !== "GET") throw methodNotAllowed();
  const isOnObject = verb === "get" || verb === "update" || verb === "patch" || verb === "delete";
  if (isOnObject && name === "") throw methodNotAllowed();
  if (subresource !== "") {
    checkSubresourceVerb(info, type);
    return;
  }
  if (verb === "create" && (name !== "" || (type.namespaced && info.namespace === ""))) throw methodNotAllowed();
  if (verb === "deletecollection" && type.namespaced && info.namespace === "") throw methodNotAllowed();
  if (!type.verbs.some((known) => known === verb)) throw methodNotAllowed();
}

function checkSubresourceVerb({ subresource, verb }: RequestInfo, type: ResourceType): void {
  const verbs = type.subresources.get(subresource)?.verbs ?? [];
  if (verbs.includes(verb)) return;
  // Methods that stand for no verb have none.
  throw type.custom ? methodNotSupported(type, type.verbs.find((known) => known === verb) ?? "") : methodNotAllowed();
}
