/** How a scaled Deployment stands, for whoever made it. */
import { createHash } from "node:crypto";
import type { Deployment } from "../../../kernel/kinds/index.js";
import { SCALING } from "./names.js";
import { readKept } from "./scaler.js";
import type { Phase } from "./to-zero.js";

/** Where a scaled Deployment is; undefined for those that are not scaled by requests, or not yet. */
export interface Standing {
  readonly phase: Phase;
  /** Its pods ran once as they are declared now, so that requests which are held have something to wait for. */
  readonly hasRun: boolean;
  /** It has none, and is to have none. */
  readonly isAsleep: boolean;
}

/** Names a pods' template. */
export function templateName(template: unknown): string {
  return createHash("sha256").update(JSON.stringify(template)).digest("hex").slice(0, 12);
}

/** What the autoscaler wrote down about a Deployment. */
export function standingOf({ metadata, spec }: Deployment): Standing | undefined {
  if (metadata.labels?.[SCALING.autoscaler] !== "kpa") return undefined;
  const kept = readKept(metadata.annotations?.[SCALING.state]);
  if (kept === undefined) return undefined;
  const hasRun = kept.initialized && kept.template === templateName(spec.template);
  return { phase: kept.phase, hasRun, isAsleep: hasRun && spec.replicas === 0 };
}
