import type { ApiError } from "../../../kernel/errors/index.js";
import { failure, forbidden, notFound } from "../failures.js";
import { objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";

/** Namespaces that every cluster needs. */
const immortal = new Set(["default", "kube-system", "kube-public"]);
const namespaces = { group: "", plural: "namespaces" };

/** Nothing is written into a namespace that is not there, nothing new into one that goes, and some never go. */
export function namespaceLifecycle(store: Store): AdmissionPlugin {
  const check = (request: AdmissionRequest): void => {
    const { type, operation, namespace, name } = request;
    const isNamespace = type.group === "" && type.plural === "namespaces";
    if (isNamespace && operation === "DELETE" && immortal.has(name))
      throw forbidden(namespaces, name, "this namespace may not be deleted");
    if (!type.namespaced || isNamespace || operation === "DELETE" || namespace === "") return;
    // Asking is allowed about namespaces that are not there.
    if (type.plural === "localsubjectaccessreviews") return;
    const found = store.get(objectKey(namespaces, "", namespace))?.value;
    if (found === undefined) throw notFound(namespaces, namespace);
    if (operation !== "CREATE" || request.subresource !== "") return;
    const isGoing =
      objectAt(found, "metadata")["deletionTimestamp"] !== undefined ||
      stringAt(objectAt(found, "status"), "phase") === "Terminating";
    if (isGoing) throw terminating(request);
  };
  return { name: "NamespaceLifecycle", mutate: check, validate: check };
}

function terminating({ type, name, namespace }: AdmissionRequest): ApiError {
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const { status } = forbidden({ group: type.group, plural: type.plural }, name, why);
  const cause = {
    reason: "NamespaceTerminating",
    message: `namespace ${namespace} is being terminated`,
    field: "metadata.namespace",
  };
  return failure(403, "Forbidden", status.message, { ...status.details, causes: [cause] });
}
