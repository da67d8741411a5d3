import type { KubeObject } from "../../kernel/kinds/index.js";
import { equalJson } from "../../kernel/schema/index.js";

/** Whether more than the status of an object changed. Its kind must have a generation. */
export function isMoreThanStatus({ metadata: now }: KubeObject, { metadata: old }: KubeObject): boolean {
  return (
    now.uid !== old.uid ||
    now.generation !== old.generation ||
    now.deletionTimestamp !== old.deletionTimestamp ||
    !equalJson(now.finalizers, old.finalizers) ||
    !equalJson(now.labels, old.labels) ||
    !equalJson(now.annotations, old.annotations)
  );
}
