import type { RouteInput } from "../../../dataplane/gateway/index.js";
import type { ApplyObject } from "../../../kernel/client/index.js";
import type { HeadIngress } from "../kinds.js";

/** A HeadIngress with the route that the built-in gateway would be given. */
export interface HeadRoute {
  readonly head: HeadIngress;
  readonly route: RouteInput;
}

/** A field that a renderer cannot make true. */
export interface Limit {
  /** Path from the object's root. */
  readonly field: string;
  readonly message: string;
}

/** An object to be applied. */
export type RenderedObject = ApplyObject & { readonly apiVersion: string; readonly kind: string };

/** A configuration made from several HeadIngresses. */
export interface RenderedText {
  readonly text: string;
  /** By route id. */
  readonly limits: ReadonlyMap<string, readonly Limit[]>;
}

/** Collects what of each route cannot be made true. */
export class Limits {
  readonly #limits = new Map<string, Limit[]>();

  /** Notes each field that is set. */
  note(id: string, fields: Readonly<Record<string, readonly [isSet: boolean, message: string]>>): void {
    for (const [field, [isSet, message]] of Object.entries(fields)) if (isSet) this.add(id, field, message);
  }

  add(id: string, field: string, message: string): void {
    const limits = this.#limits.get(id) ?? [];
    this.#limits.set(id, limits);
    limits.push({ field, message });
  }

  get byRoute(): ReadonlyMap<string, readonly Limit[]> {
    return this.#limits;
  }
}

/** Where Secrets that a configuration names are expected to be mounted, each in a folder of its name. */
export const TLS_DIRECTORY = "/etc/argosy/tls";
/** Certificates of the usual authorities, as Debian and its images have them. */
export const SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

/** What a configuration's text can hold as a word; anything else could be read as something of its own. */
const SAFE_WORD = /^[A-Za-z0-9._~/%:@&*+,=[\]-]*$/;

/** Fields whose texts cannot stand in a configuration of nginx or haproxy. */
export function unsafeFieldsOf({ head, route }: HeadRoute): readonly Limit[] {
  const { tls, backendTLS } = head.spec;
  const texts: [string, string | undefined][] = [
    ["spec.path", route.path],
    ["spec.rewrite", route.rewrite],
    ["spec.tls.secretName", tls?.secretName],
    ["spec.backendTLS.caSecretName", backendTLS?.caSecretName],
    ["spec.backendTLS.clientSecretName", backendTLS?.clientSecretName],
    ["spec.health.path", head.spec.health?.path],
    ["spec.affinity", route.affinity === undefined ? undefined : route.affinity.name.replaceAll(/[_-]/g, "")],
  ];
  for (const { name, host, addresses, tls: secure } of route.backends)
    for (const text of [name, host, secure?.serverName, ...addresses]) texts.push(["spec.backends", text]);
  for (const { name, host, addresses, tls: secure } of route.shadows ?? [])
    for (const text of [name, host, secure?.serverName, ...addresses]) texts.push(["spec.shadows", text]);
  const unsafe = new Set(
    texts.flatMap(([field, text]) => (text !== undefined && !SAFE_WORD.test(text) ? [field] : [])),
  );
  return [...unsafe].map((field) => ({
    field,
    message: "it has characters that a configuration's text cannot hold: the route is left out",
  }));
}

/** Longest path first; exact hosts before patterns, patterns before all: the order in which the built-in gateway looks. */
export function inOrder(routes: readonly HeadRoute[]): readonly HeadRoute[] {
  const rank = ({ route }: HeadRoute): number => {
    const hosts = route.hosts ?? ["*"];
    return hosts.includes("*") ? 2 : hosts.some((host) => host.startsWith("*")) ? 1 : 0;
  };
  const length = ({ route }: HeadRoute): number => (route.path ?? "/").length;
  return [...routes].sort((a, b) => rank(a) - rank(b) || length(b) - length(a) || (a.route.id < b.route.id ? -1 : 1));
}

/** A word that is safe as a name in configurations, and one for each text. */
export function wordOf(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9]/g, (letter) => `_${letter.charCodeAt(0).toString(16)}`);
}

/** Seconds as configurations like them, at least a millisecond. */
export function secondsOf(milliseconds: number): string {
  return `${Math.max(1, Math.round(milliseconds))}ms`;
}

/** The path without its closing slash; empty for "/". */
export function prefixOf(route: RouteInput): string {
  return (route.path ?? "/").replace(/\/+$/, "");
}

/** What the prefix becomes, without its closing slash. */
export function baseOf(route: RouteInput): string | undefined {
  return route.rewrite?.replace(/\/+$/, "");
}

/** Text in a regular expression (RE2, PCRE). */
export function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Whole weights in the same proportions, none above `most`; what is above 0 stays above 0. */
export function wholeWeights(weights: readonly number[], most: number): readonly number[] {
  const highest = Math.max(0, ...weights);
  const isWhole = weights.every((weight) => Number.isInteger(weight));
  const scale = isWhole && highest <= most ? 1 : most / (highest === 0 ? 1 : highest);
  return weights.map((weight) => (weight === 0 ? 0 : Math.max(1, Math.round(weight * scale))));
}

/** Whether whole weights differ from those asked for by more than one percent of the sum. */
export function isRounded(asked: readonly number[], given: readonly number[]): boolean {
  const sum = (weights: readonly number[]): number => weights.reduce((total, weight) => total + weight, 0) || 1;
  return asked.some((weight, index) => Math.abs(weight / sum(asked) - (given[index] ?? 0) / sum(given)) > 0.01);
}
