import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { AdmissionRequest } from "../types.js";
import type { Call, Machinery } from "./context.js";
import { namespaceOf } from "./context.js";

/** What admission is told besides the call. */
export interface AdmissionSubject {
  readonly operation: AdmissionRequest["operation"];
  readonly object?: JsonObject;
  readonly old?: JsonObject;
  readonly dryRun: boolean;
  /** The name, where the path has none. */
  readonly name?: string;
}

/** The request as plugins see it; one value for both phases. */
export function admissionRequest(call: Call, subject: AdmissionSubject): AdmissionRequest {
  return {
    operation: subject.operation,
    type: call.type,
    subresource: call.info.subresource,
    namespace: namespaceOf(call),
    name: subject.name ?? call.info.name,
    user: call.user,
    ...(subject.object === undefined ? {} : { object: subject.object }),
    ...(subject.old === undefined ? {} : { old: subject.old }),
    dryRun: subject.dryRun,
    warn: (message) => void call.warnings.push(message),
    ...(call.request.audit === undefined ? {} : { audit: call.request.audit }),
  };
}

/** Lets every plugin change the object, in order. */
export async function mutate(machinery: Machinery, request: AdmissionRequest): Promise<void> {
  for (const plugin of machinery.admission) {
    const done = plugin.mutate?.(request);
    if (done !== undefined) await done;
  }
}

/** Lets every plugin refuse the write, in order. */
export async function validate(machinery: Machinery, request: AdmissionRequest): Promise<void> {
  for (const plugin of machinery.admission) {
    const done = plugin.validate?.(request);
    if (done !== undefined) await done;
  }
}
