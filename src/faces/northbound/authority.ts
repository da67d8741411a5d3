import { createHash } from "node:crypto";
import type { ApiClient } from "../../kernel/client/types.js";
import type { Clock } from "../../kernel/clock/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { HttpRoute } from "../../kernel/module/types.js";
import { asObject } from "../../kernel/schema/index.js";

/** Who a bearer token belongs to. */
export interface User {
  readonly username: string;
  readonly groups: readonly string[];
}

/** What a route asks for: an action on a resource, or on a path that is no resource. */
export type Permission = NonNullable<HttpRoute["permission"]> | { readonly verb: string; readonly path: string };

/** Decides who callers are and what they may do. Both methods reject when the decision cannot be had now. */
export interface Authority {
  /** `undefined`: the token is nobody's. */
  authenticate(token: string): Promise<User | undefined>;
  authorize(user: User, permission: Permission): Promise<{ readonly allowed: boolean; readonly reason: string }>;
}

const ALLOWED_MS = 10_000;
const REFUSED_MS = 2000;
const MAX_CACHED = 4096;

/**
 * Lets the hub decide: TokenReview and SubjectAccessReview. Answers are kept for ten seconds (refusals for two), tokens by
 * their hash only; equal questions at the same time are asked once.
 */
export function hubAuthority({
  hubClient,
  clock,
}: {
  readonly hubClient: ApiClient;
  readonly clock: Clock;
}): Authority {
  const users = briefCache<User | undefined>(clock, (user) => user !== undefined);
  const decisions = briefCache<{ allowed: boolean; reason: string }>(clock, ({ allowed }) => allowed);
  return {
    authenticate: (token) =>
      users(createHash("sha256").update(token).digest("base64"), async () => {
        const review = await hubClient.json("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenReview",
          spec: { token },
        });
        return userOf(asObject(asObject(review)["status"]));
      }),
    authorize: (user, permission) =>
      decisions(JSON.stringify([user.username, user.groups, permission]), async () => {
        const review = await hubClient.json("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: { user: user.username, groups: [...user.groups], ...attributesOf(permission) },
        });
        const status = asObject(asObject(review)["status"]);
        const reason = status["reason"];
        return { allowed: status["allowed"] === true, reason: typeof reason === "string" ? reason : "" };
      }),
  };
}

function attributesOf(permission: Permission): JsonObject {
  return "path" in permission
    ? { nonResourceAttributes: { verb: permission.verb, path: permission.path } }
    : { resourceAttributes: { verb: permission.verb, group: permission.group, resource: permission.resource } };
}

function userOf(status: JsonObject): User | undefined {
  const { username, groups } = asObject(status["user"]);
  if (status["authenticated"] !== true || typeof username !== "string") return undefined;
  return { username, groups: Array.isArray(groups) ? groups.filter((group) => typeof group === "string") : [] };
}

/** Keeps answers for a while; failures are not kept. */
function briefCache<T>(
  clock: Clock,
  isGood: (value: T) => boolean,
): (key: string, ask: () => Promise<T>) => Promise<T> {
  const answers = new Map<string, { readonly answer: Promise<T>; untilMs: number }>();
  return (key, ask) => {
    const known = answers.get(key);
    if (known !== undefined && known.untilMs > clock.monotonicMs()) return known.answer;
    answers.delete(key);
    for (const oldest of answers.keys()) {
      if (answers.size < MAX_CACHED) break;
      answers.delete(oldest);
    }
    const entry = { answer: ask(), untilMs: Number.POSITIVE_INFINITY };
    answers.set(key, entry);
    entry.answer.then(
      (value) => {
        entry.untilMs = clock.monotonicMs() + (isGood(value) ? ALLOWED_MS : REFUSED_MS);
      },
      () => {
        if (answers.get(key) === entry) answers.delete(key);
      },
    );
    return entry.answer;
  };
}
