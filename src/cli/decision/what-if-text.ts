import type { JsonObject } from "../../kernel/kinds/object.js";
import { toJsonObject } from "../../kernel/schema/index.js";
import type { Outcome, ServiceOutcome, Simulation } from "../../modules/fleet/index.js";
import { renderChanges } from "../rollout/plan.js";

/** A simulation as a document. */
export function simulationDocument({ outcomes, unchanged, services, notes }: Simulation): JsonObject {
  return toJsonObject({ outcomes, unchanged, services, notes });
}

/** A simulation for people: per object before, after and why. */
export function renderSimulation({ outcomes, unchanged, services, notes }: Simulation): string {
  const lines = [
    ...outcomes.flatMap((outcome) => [...renderOutcome(outcome), ""]),
    ...services.flatMap((service) => [...renderService(service), ""]),
  ];
  const total = outcomes.length + unchanged;
  const also = services.length === 0 ? "" : ` and ${services.length} HyperMLService${services.length === 1 ? "" : "s"}`;
  return [
    ...lines,
    ...notes.map((note) => `note: ${note}`),
    `${outcomes.length} of ${total} bindings${also} would be concerned; nothing was changed`,
    "",
  ].join("\n");
}

function renderOutcome({ template, before, after, kept, steps, decision }: Outcome): string[] {
  const { kind, namespace, name } = template;
  const lines = [
    `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`,
    `  before  ${sayTargets(before)}`,
    `  after   ${sayTargets(after)}${kept.length === 0 ? "" : `; until it is well there, also ${kept.join(", ")}`}`,
    ...steps.map(({ atSeconds, what }) => `  +${atSeconds}s  ${what}`),
  ];
  if (decision === undefined) return lines;
  lines.push(`  why     ${decision.message ?? decision.why}`, `  rule    ${decision.rule}`);
  for (const { cluster, room, promised } of decision.feasible)
    if (room !== undefined)
      lines.push(
        `  +  ${cluster}: room for ${room}${promised === 0 ? "" : `, ${promised} of them promised to others`}`,
      );
  for (const { cluster, reason } of decision.rejected) lines.push(`  -  ${cluster}: ${reason}`);
  return lines;
}

function renderService({ namespace, name, refused, rollout, clusters }: ServiceOutcome): string[] {
  const how = rollout === undefined ? "" : `, in the waves of HyperRollout ${rollout}`;
  const lines = [`HyperMLService ${namespace}/${name}${how}`, ...refused.map((why) => `  refused  ${why}`)];
  for (const { cluster, before, after } of clusters) {
    const approval = after?.needsApproval === true ? ", when it is promoted" : "";
    lines.push(`  ${cluster}${after?.wave === undefined ? "" : ` (wave ${after.wave}${approval})`}`);
    if (before?.wave !== undefined && after?.wave !== undefined && before.wave !== after.wave)
      lines.push(`    was in wave ${before.wave}`);
    lines.push(...renderChanges(after?.changes ?? []).map((line) => `    ${line}`));
    for (const why of after?.refused ?? []) lines.push(`    refused  ${why}`);
    if (before?.percent !== after?.percent || before?.why !== after?.why)
      lines.push(
        `    requests ${sayPercent(before?.percent)} → ${sayPercent(after?.percent)}${after?.why === undefined ? "" : `: ${after.why}`}`,
      );
  }
  return lines;
}

function sayPercent(percent: number | undefined): string {
  return percent === undefined ? "none" : `${percent}%`;
}

function sayTargets(targets: Outcome["before"]): string {
  if (targets.length === 0) return "nowhere";
  return targets.map(({ name, replicas }) => (replicas === undefined ? name : `${name} ${replicas}`)).join(", ");
}
