/** Which releases are scaled by requests, and what their children say for it. */
import { SCALING } from "./autoscaling/index.js";
import type { Release } from "./kinds.js";

/** What is said of the number of pods of a release, or of a transformer. */
export interface Scalable {
  readonly predictor: Pick<Release["predictor"], "minReplicas" | "maxReplicas" | "template">;
}

const KNATIVE = "autoscaling.knative.dev/";

/** Whether the number of a release's pods follows its requests: where none may be left, more may come, or its template says how. */
export function isScaled({ predictor }: Scalable): boolean {
  const { minReplicas, maxReplicas = 0 } = predictor;
  return minReplicas === 0 || maxReplicas > minReplicas || Object.keys(scalingAnnotations({ predictor })).length > 0;
}

function scalingAnnotations({ predictor }: Scalable): Record<string, string> {
  const given = Object.entries(predictor.template?.metadata?.annotations ?? {});
  const isOurs = (name: string): boolean => name.startsWith(KNATIVE) || name.startsWith("serving.argosy.dev/");
  return Object.fromEntries(given.filter(([name]) => isOurs(name)));
}

/** Labels and annotations of a scaled release's Deployment; the numbers of the release count, not those of its template. */
export function scalingMetadata(release: Scalable): {
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
} {
  const { minReplicas, maxReplicas = 0 } = release.predictor;
  return {
    labels: { [SCALING.autoscaler]: "kpa" },
    annotations: {
      ...scalingAnnotations(release),
      [`${KNATIVE}min-scale`]: String(minReplicas),
      [`${KNATIVE}max-scale`]: String(maxReplicas),
    },
  };
}
