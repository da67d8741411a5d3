import type { Policy, Subject } from "./choose.js";

/** Which policies may mean an object, without asking all of them; and which kinds are meant at all. */
export class PolicyIndex {
  readonly #policies = new Map<string, Policy>();
  readonly #places = new Map<string, Set<Policy>>();
  readonly #byId = new Map<string, Policy>();
  /** How many selectors mean a kind, by `apiVersion/kind`. */
  readonly #kinds = new Map<string, number>();

  get(key: string): Policy | undefined {
    return this.#policies.get(key);
  }

  byId(id: string): Policy | undefined {
    return this.#byId.get(id);
  }

  /** Puts the policy in the place of the one that had its key; `undefined`: it is gone. */
  set(key: string, policy: Policy | undefined): void {
    const old = this.#policies.get(key);
    if (old !== undefined) {
      this.#policies.delete(key);
      if (this.#byId.get(old.id) === old) this.#byId.delete(old.id);
      for (const place of placesOf(old)) {
        const there = this.#places.get(place);
        there?.delete(old);
        if (there?.size === 0) this.#places.delete(place);
      }
      for (const kind of kindsOf(old)) this.#count(kind, -1);
    }
    if (policy === undefined) return;
    this.#policies.set(key, policy);
    if (policy.id !== "") this.#byId.set(policy.id, policy);
    for (const place of placesOf(policy)) {
      const there = this.#places.get(place) ?? new Set();
      there.add(policy);
      this.#places.set(place, there);
    }
    for (const kind of kindsOf(policy)) this.#count(kind, 1);
  }

  /** All that may mean the object: by its name, or any of its kind. */
  candidates(subject: Subject): Policy[] {
    const { apiVersion, kind, namespace, name } = subject;
    const found = new Set<Policy>();
    for (const space of new Set([namespace, ""])) {
      for (const about of [name, ""]) {
        for (const policy of this.#places.get(placeOf(space, apiVersion, kind, about)) ?? []) found.add(policy);
      }
    }
    return [...found];
  }

  /** `apiVersion` and `kind` of everything that some policy means. */
  kinds(): { readonly apiVersion: string; readonly kind: string }[] {
    return [...this.#kinds.keys()].map((text) => {
      const cut = text.lastIndexOf("/");
      return { apiVersion: text.slice(0, cut), kind: text.slice(cut + 1) };
    });
  }

  /** Whether some policy is about a kind. */
  means(apiVersion: string, kind: string): boolean {
    return this.#kinds.has(`${apiVersion}/${kind}`);
  }

  #count(kind: string, by: 1 | -1): void {
    const count = (this.#kinds.get(kind) ?? 0) + by;
    if (count === 0) this.#kinds.delete(kind);
    else this.#kinds.set(kind, count);
  }
}

const placeOf = (space: string, apiVersion: string, kind: string, name: string): string =>
  `${space}|${apiVersion}/${kind}|${name}`;

function placesOf(policy: Policy): Set<string> {
  return new Set(
    policy.spec.resourceSelectors.map(({ apiVersion, kind, namespace = "", name = "" }) =>
      placeOf(policy.isCluster ? namespace : policy.namespace, apiVersion, kind, name),
    ),
  );
}

const kindsOf = (policy: Policy): Set<string> =>
  new Set(policy.spec.resourceSelectors.map(({ apiVersion, kind }) => `${apiVersion}/${kind}`));
