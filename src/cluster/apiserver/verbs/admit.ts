import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { AdmissionPlugin, AdmissionRequest } from "../types.js";
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

/** Lets every plugin change the object, in order. `undefined`: all have done so; a promise only where one had to wait. */
export function mutate(machinery: Machinery, request: AdmissionRequest): Promise<void> | undefined {
  return inTurn(machinery.admission, (plugin) => plugin.mutate?.(request));
}

/** Lets every plugin refuse the write, in order, and as above. */
export function validate(machinery: Machinery, request: AdmissionRequest): Promise<void> | undefined {
  return inTurn(machinery.admission, (plugin) => plugin.validate?.(request));
}

type Asking = (plugin: AdmissionPlugin) => Promise<void> | void;

function inTurn(plugins: readonly AdmissionPlugin[], ask: Asking): Promise<void> | undefined {
  for (let index = 0; index < plugins.length; index += 1) {
    const plugin = plugins[index];
    const done = plugin === undefined ? undefined : ask(plugin);
    if (done !== undefined) return done.then(() => inTurn(plugins.slice(index + 1), ask));
  }
  return undefined;
}
