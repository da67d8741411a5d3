/** What annotations of an Ingress say of all its routes, beside weights and health. Pure. */
import type { RouteInput } from "../../dataplane/gateway/index.js";
import type { Ingress } from "../../kernel/kinds/index.js";
import { asObject, isObject, parseJson } from "../../kernel/schema/index.js";
import { ARGOSY } from "./names.js";

/** The policies, and what is wrong with those that are none. */
export interface IngressPolicies {
  readonly route: Pick<RouteInput, "affinity" | "pin" | "timeouts">;
  /** Services that get copies of requests, with the percent of them. */
  readonly shadows: readonly { readonly service: string; readonly percent: number }[];
  readonly faults: readonly string[];
}

/** Reads them. */
export function policiesIn({ metadata }: Ingress): IngressPolicies {
  const faults: string[] = [];
  const read = <T>(name: string, parse: (text: string) => T | undefined, form: string): T | undefined => {
    const text = metadata.annotations?.[name];
    const value = text === undefined ? undefined : parse(text);
    if (text !== undefined && value === undefined) faults.push(`annotation ${name} is ignored: it must be ${form}`);
    return value;
  };
  const affinity = read(ARGOSY.affinity, affinityIn, "cookie=NAME or header=NAME");
  const pin = read(ARGOSY.pin, pinIn, 'JSON like {"header":"x-model","values":{"next":"service-b"}}, or with cookie');
  const seconds = read(ARGOSY.timeout, secondsIn, "a number of seconds above 0");
  const shadows = read(ARGOSY.shadows, shadowsIn, 'JSON like {"service-b":10} with percents from 0 to 100');
  const ms = seconds === undefined ? 0 : Math.round(seconds * 1000);
  return {
    route: {
      ...(affinity === undefined ? {} : { affinity }),
      ...(pin === undefined ? {} : { pin }),
      ...(seconds === undefined ? {} : { timeouts: { requestMs: ms, responseMs: ms } }),
    },
    shadows: shadows ?? [],
    faults,
  };
}

function affinityIn(text: string): RouteInput["affinity"] {
  const match = /^(cookie|header)=([A-Za-z0-9!#$%&'*+.^_`|~-]+)$/.exec(text.trim());
  const name = match?.[2];
  if (name === undefined) return undefined;
  return { by: match?.[1] === "cookie" ? "cookie" : "header", name, ttlSeconds: 0 };
}

function pinIn(text: string): RouteInput["pin"] {
  const value = asObject(parseJson(text));
  const { header, cookie, values } = value;
  const name = header ?? cookie;
  if (typeof name !== "string" || (header === undefined) === (cookie === undefined) || !isObject(values))
    return undefined;
  const backends: Record<string, string> = {};
  for (const [key, service] of Object.entries(values)) {
    if (typeof service !== "string") return undefined;
    backends[key] = service;
  }
  return { by: header === undefined ? "cookie" : "header", name, backends };
}

function secondsIn(text: string): number | undefined {
  const seconds = Number(text);
  return text.trim() !== "" && seconds > 0 && seconds <= 86_400 ? seconds : undefined;
}

function shadowsIn(text: string): IngressPolicies["shadows"] | undefined {
  const value = parseJson(text);
  if (!isObject(value)) return undefined;
  const shadows: { service: string; percent: number }[] = [];
  for (const [service, percent] of Object.entries(value)) {
    if (typeof percent !== "number" || percent < 0 || percent > 100) return undefined;
    shadows.push({ service, percent });
  }
  return shadows;
}
