/** What the figures are held against. */
import type { LoadResult } from "./loads.js";
import { round } from "./loads.js";
import type { OutageResult } from "./outage.js";
import type { RestartResult } from "./restart.js";

/** Everything about one hub. */
export interface HubResult {
  works?: { readonly atOnce: LoadResult; readonly atRate?: LoadResult & { readonly offeredPerSecond: number } };
  templates?: { readonly onePolicy: LoadResult; readonly ownPolicies: LoadResult };
  outage?: OutageResult;
  /** Why it could not be measured. */
  outageFault?: string;
  /** `restMb`: before the first binding. */
  memory?: { readonly residentMb: number; readonly bindings: number; readonly restMb: number };
  restart?: RestartResult;
}

interface Results {
  readonly argosy: HubResult;
  readonly karmada: HubResult;
  readonly decisions: Readonly<Record<string, Readonly<Record<string, number>>>> | undefined;
}

/** A figure beside its bar; figures that were not taken are left out. */
export interface Bar {
  readonly figure: string;
  readonly value: number;
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly holds: boolean;
}

export function barsOf({ argosy, karmada, decisions }: Results): Bar[] {
  const bars: Bar[] = [];
  const atMost = (figure: string, value: number | null | undefined, limit: number): void => {
    if (value === undefined) return;
    const known = value ?? Number.POSITIVE_INFINITY;
    bars.push({ figure, value: known, atMost: limit, holds: known <= limit });
  };
  const atLeast = (figure: string, value: number | undefined, limit: number): void => {
    if (value !== undefined) bars.push({ figure, value, atLeast: limit, holds: value >= limit });
  };
  const ratio = (own: number | undefined, peer: number | undefined): number | undefined =>
    own === undefined || peer === undefined ? undefined : round(own / peer, 4);
  const fifteenth = round(1 / 15, 4);
  const { works, templates } = argosy;
  atMost("CPU a Work, of Karmada's", ratio(works?.atOnce.cpuMs, karmada.works?.atOnce.cpuMs), fifteenth);
  atLeast("works/s, all at once", works?.atOnce.perSecond, 1000);
  atMost(`p99 in ms at ${works?.atRate?.offeredPerSecond ?? 0} works/s offered`, works?.atRate?.p99Ms, 250);
  for (const [key, how] of [
    ["onePolicy", "one policy"],
    ["ownPolicies", "a policy each"],
  ] as const) {
    const peer = karmada.templates?.[key].cpuMs;
    atMost(`CPU a template (${how}), of Karmada's`, ratio(templates?.[key].cpuMs, peer), fifteenth);
    atLeast(`templates/s (${how})`, templates?.[key].perSecond, 500);
  }
  const rates = decisions === undefined ? undefined : Object.values(decisions).flatMap((each) => Object.values(each));
  atLeast("placement decisions/s, slowest rule and fleet", rates === undefined ? undefined : Math.min(...rates), 5000);
  atMost(
    `seconds to settle after a restart with ${argosy.restart?.works ?? 0} Works`,
    argosy.restart?.settledAfter,
    30,
  );
  const memory = ratio(argosy.memory?.residentMb, karmada.memory?.residentMb);
  atMost(`memory at ${argosy.memory?.bindings ?? 0} bindings, of Karmada's`, memory, round(1 / 3, 4));
  atMost("seconds until a frozen member is not ready", argosy.outage?.notReadyAfter, 10);
  atMost("p99 in ms to the healthy members beside a frozen one", argosy.outage?.during.p99Ms, 250);
  return bars;
}
