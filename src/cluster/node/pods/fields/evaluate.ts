import type { Json, JsonObject, Pod } from "../../../../kernel/kinds/index.js";
import { toJson } from "../../../../kernel/schema/index.js";
import { containerFields } from "./container-fields.js";
import { podFields } from "./pod-fields.js";
import type { Abilities, FieldRule } from "./types.js";
import { volumeFields } from "./volume-fields.js";

/** All rules; of several for one field the first whose value is met speaks. */
export const fieldRules: readonly FieldRule[] = [...podFields, ...containerFields, ...volumeFields];

/** A field that a pod sets and that is not carried out as it stands. */
export interface Finding {
  /** Where in the pod: `spec.containers[main].stdin`. */
  readonly path: string;
  readonly verdict: "refused" | "ignored";
  readonly note: string;
  readonly rejection?: string;
  /** It concerns an ephemeral container, which may come while the pod runs. */
  readonly isEphemeral: boolean;
}

interface Place {
  readonly path: string;
  readonly value: Json;
}

const containerLists = ["initContainers", "containers", "ephemeralContainers"];

/** What of a pod this node refuses or leaves out. */
export function findingsOf(pod: Pod, node: Abilities): Finding[] {
  const spec = toJson(pod.spec);
  if (!isMap(spec)) return [];
  const decided = new Set<string>();
  const findings: Finding[] = [];
  for (const rule of fieldRules) {
    for (const place of placesOf(spec, rule.field)) {
      const key = `${rule.field} ${place.path}`;
      if (decided.has(key) || rule.value?.test(place.value, { pod, node }) === false) continue;
      decided.add(key);
      const verdict = rule[node.mode] ?? rule.root;
      if (verdict === "honoured") continue;
      const { note, rejection } = rule;
      const isEphemeral = place.path.startsWith("spec.ephemeralContainers");
      findings.push({
        path: place.path,
        verdict,
        note,
        isEphemeral,
        ...(rejection === undefined ? {} : { rejection }),
      });
    }
  }
  return findings;
}

function placesOf(spec: JsonObject, field: string): Place[] {
  const [first = "", ...rest] = field.split(".");
  const lists = first === "containers[]" ? containerLists.map((list) => `${list}[]`) : [first];
  return lists.flatMap((head) =>
    [head, ...rest].reduce<Place[]>(
      (places, segment) => places.flatMap((place) => below(place, segment)),
      [{ path: "spec", value: spec }],
    ),
  );
}

function below(place: Place, segment: string): Place[] {
  const name = segment.replace(/\[\]$/, "");
  const value = isMap(place.value) ? place.value[name] : undefined;
  // What is empty asks for nothing.
  if (value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0)) return [];
  const path = `${place.path}.${name}`;
  if (!segment.endsWith("[]")) return [{ path, value }];
  if (!Array.isArray(value)) return [];
  return value.map((element, index) => ({ path: `${path}[${labelOf(element, index)}]`, value: element }));
}

function labelOf(element: Json, index: number): string {
  const name = isMap(element) ? element["name"] : undefined;
  return typeof name === "string" && name !== "" ? name : String(index);
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One line that names everything left out; `undefined` when nothing is. */
export function ignoredText(findings: readonly Finding[]): string | undefined {
  const parts = findings.filter((each) => each.verdict === "ignored").map(({ path, note }) => `${path} (${note})`);
  return parts.length === 0 ? undefined : `this node does not carry out: ${parts.join("; ")}`;
}

/** Why a pod is not started: what to change stands in the message. */
export interface Refusal {
  readonly message: string;
  /** Reason of the event. */
  readonly event: "FailedCreatePodSandBox" | "FailedMount";
  /** The pod ends as Failed with it; absent: its containers wait. */
  readonly rejection?: string;
}

/** The first reason for which the pod, or its ephemeral container of that name, is not started. */
export function refusalOf(findings: readonly Finding[], ephemeral?: string): Refusal | undefined {
  const found = findings.filter(
    (each) =>
      each.verdict === "refused" &&
      (ephemeral === undefined ? !each.isEphemeral : each.path.startsWith(`spec.ephemeralContainers[${ephemeral}]`)),
  );
  if (found.length === 0) return undefined;
  const message = found.map(({ path, note }) => `${path}: ${note}`).join("; ");
  const rejection = found.find((each) => each.rejection !== undefined)?.rejection;
  const event = found.every((each) => each.path.startsWith("spec.volumes")) ? "FailedMount" : "FailedCreatePodSandBox";
  return { message, event, ...(rejection === undefined ? {} : { rejection }) };
}
