import type { JsonObject } from "../../kernel/kinds/object.js";
import { toJsonObject } from "../../kernel/schema/index.js";
import type { Outcome, Simulation } from "../../modules/fleet/index.js";

/** A simulation as a document. */
export function simulationDocument({ outcomes, unchanged, notes }: Simulation): JsonObject {
  return toJsonObject({ outcomes, unchanged, notes });
}

/** A simulation for people: per object before, after and why. */
export function renderSimulation({ outcomes, unchanged, notes }: Simulation): string {
  const lines = outcomes.flatMap((outcome) => [...renderOutcome(outcome), ""]);
  const total = outcomes.length + unchanged;
  return [
    ...lines,
    ...notes.map((note) => `note: ${note}`),
    `${outcomes.length} of ${total} bindings would be concerned; nothing was changed`,
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

function sayTargets(targets: Outcome["before"]): string {
  if (targets.length === 0) return "nowhere";
  return targets.map(({ name, replicas }) => (replicas === undefined ? name : `${name} ${replicas}`)).join(", ");
}
