import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt } from "../fields.js";
import { timestamp } from "./answers.js";

/** Says something in a pod's conditions, in place; the time stays where the status was the same before. */
export function sayOfPod(pod: JsonObject, condition: JsonObject, now: number): void {
  const status = objectAt(pod, "status");
  pod["status"] = status;
  const given = status["conditions"];
  const list = Array.isArray(given) ? given.filter(isObject) : [];
  const before = list.find((one) => one["type"] === condition["type"]);
  const isSame = before?.["status"] === condition["status"];
  const since = isSame ? (before?.["lastTransitionTime"] ?? null) : timestamp(now);
  const said = { ...condition, lastProbeTime: null, lastTransitionTime: since };
  status["conditions"] = before === undefined ? [...list, said] : list.map((one) => (one === before ? said : one));
}
