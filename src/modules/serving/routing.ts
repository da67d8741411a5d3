/** Which releases get the service's own traffic. */
import { releaseName } from "./children.js";
import type { MLServiceSpec } from "./kinds.js";

/** What is known of a release when traffic is divided. */
export interface ReleaseState {
  readonly name: string;
  readonly ready: boolean;
}

/** The shares of the service's own address, and why. */
export interface Routing {
  /** Release → percent; those without are 0. */
  readonly percent: Readonly<Record<string, number>>;
  /** The release that is the default one now. */
  readonly defaultRelease: string;
  readonly reason: string;
}

/**
 * The default release gets everything but the canary's share. A canary that does not answer gets nothing. When another release
 * becomes the default, the one before keeps the traffic until the new one answers, as long as it is there and answers itself.
 */
export function routeTraffic(
  spec: MLServiceSpec,
  states: readonly ReleaseState[],
  before: string | undefined,
): Routing {
  const isReady = (name: string | undefined): boolean => states.some((state) => state.name === name && state.ready);
  const { canary } = spec;
  const waits = before !== undefined && before !== spec.default && !isReady(spec.default) && isReady(before);
  const main = waits ? before : spec.default;
  const words = waits
    ? `${spec.default} does not answer yet, so ${before} keeps the traffic`
    : `${main} is the default`;
  if (canary === undefined || canary === main) return { percent: { [main]: 100 }, defaultRelease: main, reason: words };
  if (!isReady(canary))
    return {
      percent: { [main]: 100 },
      defaultRelease: main,
      reason: `${words}; canary ${canary} does not answer and gets nothing`,
    };
  const share = spec.canaryTrafficPercent ?? 0;
  return {
    percent: { [main]: 100 - share, [canary]: share },
    defaultRelease: main,
    reason: `${words}; canary ${canary} gets ${share} %`,
  };
}

/** The routing as weights of Services, the default release's first. */
export function weightsOf(service: string, routing: Routing): Record<string, number> {
  const weights: Record<string, number> = {
    [releaseName(service, routing.defaultRelease)]: routing.percent[routing.defaultRelease] ?? 0,
  };
  for (const [release, percent] of Object.entries(routing.percent))
    if (percent > 0) weights[releaseName(service, release)] = percent;
  return weights;
}
