import type { JsonObject } from "../../../kernel/kinds/object.js";
import { objectAt } from "../fields.js";
import type { VirtualResource } from "../types.js";
import { admissionRequest, mutate, validate } from "./admit.js";
import { type Call, type Machinery, namespaceOf, type Outcome, timestamp } from "./context.js";
import { placeInNamespace } from "./create.js";
import { decodeBody } from "./decode.js";
import { readWriteOptions } from "./options.js";

/** What clients cannot say of something that is made. */
const wiped = ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "uid"];

/** POST of what is answered and not stored. Admission looks at bodies of subresources: they change the object that they belong to. */
export async function submit(machinery: Machinery, call: Call, virtual: VirtualResource): Promise<Outcome> {
  const { body = call.type } = virtual;
  const { manager, ...options } = readWriteOptions(call.request, "CreateOptions");
  const object = decodeBody({ ...call, type: body }, options);
  if (virtual.keepsIdentity !== true) for (const field of wiped) delete objectAt(object, "metadata")[field];
  placeInNamespace(object, namespaceOf(call));
  const { name, subresource } = call.info;
  body.merge.trackUpdate(object, undefined, { manager, subresource, now: timestamp(machinery.clock) });
  const admission = { ...admissionRequest(call, { operation: "CREATE", object, dryRun: options.dryRun }), body };
  const isLookedAt = virtual.body !== undefined;
  if (isLookedAt) await mutate(machinery, admission);
  const admit = async (): Promise<void> => {
    if (isLookedAt) await validate(machinery, admission);
  };
  const { user } = call;
  const about = { object, namespace: namespaceOf(call), name, user, dryRun: options.dryRun, admit };
  const value: JsonObject = await virtual.create(about);
  return { status: 201, value };
}
