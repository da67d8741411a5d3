import type { ContainerStatus, Job, Pod } from "../../../kernel/kinds/index.js";

type Rule = NonNullable<NonNullable<Job["spec"]["podFailurePolicy"]>["rules"]>[number];

/** What the Job's podFailurePolicy says of a failed pod. */
export interface PolicyVerdict {
  readonly action: "FailJob" | "FailIndex" | "Ignore" | "Count";
  readonly message: string;
}

function matchExitCode(rule: Rule, pod: Pod): ContainerStatus | undefined {
  const { onExitCodes } = rule;
  if (onExitCodes === undefined) return undefined;
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return statuses.find((status) => {
    const code = status.state?.terminated?.exitCode;
    if (code === undefined || code === 0) return false;
    if (onExitCodes.containerName !== undefined && onExitCodes.containerName !== status.name) return false;
    return onExitCodes.values.includes(code) === (onExitCodes.operator === "In");
  });
}

/** Applies the rules in order; the first that matches decides, otherwise the failure counts. */
export function judgeFailure(job: Job, pod: Pod): PolicyVerdict {
  const { namespace, name } = pod.metadata;
  for (const [index, rule] of (job.spec.podFailurePolicy?.rules ?? []).entries()) {
    const action =
      rule.action === "FailJob" || rule.action === "Ignore" || rule.action === "FailIndex" ? rule.action : "Count";
    const container = matchExitCode(rule, pod);
    if (container !== undefined) {
      const code = container.state?.terminated?.exitCode;
      const message = `Container ${container.name} for pod ${namespace}/${name} failed with exit code ${code} matching ${rule.action} rule at index ${index}`;
      return { action, message };
    }
    const condition = rule.onPodConditions?.find((wish) =>
      pod.status?.conditions?.some((seen) => seen.type === wish.type && seen.status === (wish.status ?? "True")),
    );
    if (condition !== undefined) {
      return {
        action,
        message: `Pod ${namespace}/${name} has condition ${condition.type} matching ${rule.action} rule at index ${index}`,
      };
    }
  }
  return { action: "Count", message: "" };
}
