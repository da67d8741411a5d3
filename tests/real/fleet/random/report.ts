import { dump } from "js-yaml";
import type { Json } from "../../../../src/kernel/kinds/object.js";
import { isObject, parseJson } from "../../../../src/kernel/schema/index.js";
import { type Batch, type Finding, PHASES, WORLD_PHASE } from "./types.js";

/** Something that differs, and the world that it differs in. */
export interface Found {
  readonly batch: Batch;
  readonly finding: Finding;
}

/** By what differs, most frequent first; of each the smallest case. */
export function reportOf(found: readonly Found[]): string[] {
  const groups = new Map<string, Found[]>();
  for (const one of found) {
    const key = signature(one.finding);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()]
    .toSorted((a, b) => b.length - a.length)
    .map((list) => {
      const seeds = list.map(({ finding }) => finding.fleetCase.seed).join(", ");
      const [smallest = ""] = list.map(describe).toSorted((a, b) => a.length - b.length);
      return `### ${list.length}× (seeds ${seeds})\n${smallest}`;
    });
}

/** The same kind of difference, whatever the values. */
function signature({ lines, phase }: Finding): string {
  return [phase, ...new Set(lines.map((line) => line.replace(/:.*$/, "").replaceAll(/\d+/g, "0")))].join("|");
}

/** What differs, and the case as YAML. */
function describe({ batch: { worlds }, finding: { fleetCase, phase, lines } }: Found): string {
  const said = narrowed(lines)
    .slice(0, 60)
    .map((line) => `  ${line.slice(0, 600)}`);
  const phases = fleetCase.phases.slice(0, phase + 1).map((writes, index) => ({ [PHASES[index] ?? ""]: writes }));
  const world = worlds[phase < WORLD_PHASE ? 0 : 1];
  const yaml = dump({ world, phases }, { noRefs: true, lineWidth: 160 });
  return [`seed ${fleetCase.seed}, ${PHASES[phase]}:`, ...said, yaml].join("\n");
}

/** Of what both show only the fields that differ. */
function narrowed(lines: readonly string[]): string[] {
  const other = (line: string): string | undefined => {
    const key = line.slice(2, line.indexOf(": ") + 2);
    return lines.find((one) => one !== line && one[0] !== line[0] && one.slice(2).startsWith(key));
  };
  const seen = new Set<string>();
  return lines.flatMap((line) => {
    const twin = other(line);
    if (twin === undefined) return [line];
    if (seen.has(line)) return [];
    seen.add(line).add(twin);
    const at = line.indexOf(": ") + 2;
    const [real, own] = line.startsWith("-") ? [line, twin] : [twin, line];
    const fields = differing(parseJson(real.slice(at)), parseJson(own.slice(at)), "");
    return [`! ${line.slice(2, at)}`, ...fields.map((field) => `    ${field}`)];
  });
}

function differing(real: Json | undefined, own: Json | undefined, path: string): string[] {
  const [left, right] = [JSON.stringify(real), JSON.stringify(own)];
  if (left === right) return [];
  const [inner, outer] = [nested(real), nested(own)];
  if (inner !== undefined && outer !== undefined)
    return [...new Set([...Object.keys(inner), ...Object.keys(outer)])].flatMap((key) =>
      differing(inner[key], outer[key], `${path}/${key}`),
    );
  return [`${path}: real ${left}, own ${right}`];
}

/** The members of an object, a list, or a text that holds one. */
function nested(value: Json | undefined): Readonly<Record<string, Json | undefined>> | undefined {
  if (Array.isArray(value)) return Object.fromEntries(value.map((item, index) => [String(index), item]));
  if (typeof value === "string" && /^[[{]/.test(value)) return nested(parseJson(value));
  return isObject(value) ? value : undefined;
}
