import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { objectAt, stringAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { AuthorizationAttributes, Authorizer, Store, StoreEvent, UserInfo } from "../types.js";
import { follow } from "./objects.js";
import { rbacGroup } from "./rbac.js";

/** How long after a role or binding was changed or taken away those who go on by it are looked at: changes come together. */
const recheckAfterMs = 1000;
const lookedAtOnce = 500;

/** What goes on in somebody's name for longer than one answer, and has to end with their account or right. */
export interface Standing {
  /** Calls `end` once the account, or the pod that its token is bound to, is deleted, or nothing allows the request any more. Returns what ends that. */
  track(attributes: AuthorizationAttributes, end: () => void): () => void;
  close(): void;
}

interface Tracked {
  readonly attributes: AuthorizationAttributes;
  readonly end: () => void;
}

/**
 * Costs nothing while nobody's right goes: deletions are looked up by the uid that the credential names, and requests are authorized again only when a
 * role or binding was changed or deleted; a new one takes nothing away.
 */
export function createStanding(store: Store, authorizer: Authorizer, clock: Clock): Standing {
  const all = new Set<Tracked>();
  const byUid = new Map<string, Set<Tracked>>();
  let timer: Timer | undefined;
  const look = (some: readonly Tracked[]): void => {
    for (const tracked of some.slice(0, lookedAtOnce))
      if (all.has(tracked) && !authorizer.authorize(tracked.attributes).allowed) tracked.end();
    // Others are answered between: of ten thousand it takes a tenth of a second.
    if (some.length > lookedAtOnce) setImmediate(() => look(some.slice(lookedAtOnce)));
  };
  const recheck = (): void => {
    timer = undefined;
    look([...all]);
  };
  const onRights = (events: readonly StoreEvent[]): void => {
    if (timer === undefined && all.size > 0 && events.some(({ old }) => old !== undefined))
      timer = clock.setTimer(recheckAfterMs, recheck);
  };
  const onAccounts = (events: readonly StoreEvent[]): void => {
    if (byUid.size === 0) return;
    for (const event of events) {
      if (event.type !== "delete") continue;
      for (const { end } of [...(byUid.get(stringAt(objectAt(event.old.value, "metadata"), "uid")) ?? [])]) end();
    }
  };
  // What happened meanwhile is not known: who may comes back.
  const onGap = (): void => {
    for (const { end } of [...all]) end();
  };
  const followed = [
    ...["roles", "rolebindings", "clusterroles", "clusterrolebindings"].map((plural) =>
      follow(store, listPrefix({ group: rbacGroup, plural }, ""), { onEvents: onRights, onGap }),
    ),
    ...["serviceaccounts", "pods", "nodes"].map((plural) =>
      follow(store, listPrefix({ group: "", plural }, ""), { onEvents: onAccounts, onGap }),
    ),
  ];
  return {
    track(attributes, end) {
      // Nothing that is stored takes their rights away.
      if (attributes.user.groups.includes("system:masters")) return () => undefined;
      const tracked: Tracked = { attributes, end };
      const uids = uidsOf(attributes.user);
      all.add(tracked);
      for (const uid of uids) byUid.set(uid, (byUid.get(uid) ?? new Set()).add(tracked));
      return () => {
        all.delete(tracked);
        for (const uid of uids) {
          const alike = byUid.get(uid);
          alike?.delete(tracked);
          if (alike?.size === 0) byUid.delete(uid);
        }
      };
    },
    close() {
      timer?.cancel();
      for (const each of followed) each.close();
    },
  };
}

/** What a ServiceAccount's token stands on. A node beside a pod is information. */
function uidsOf({ username, uid, extra = {} }: UserInfo): readonly string[] {
  if (!username.startsWith("system:serviceaccount:") || uid === undefined) return [];
  const prefix = "authentication.kubernetes.io/";
  return [uid, ...(extra[`${prefix}pod-uid`] ?? extra[`${prefix}node-uid`] ?? [])];
}
