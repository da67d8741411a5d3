import type { ResourceClient } from "../client/index.js";
import type { KubeObject } from "../kinds/index.js";
import { equalJson } from "../schema/index.js";

/**
 * Makes an object's status be `status`: writes it through the status subresource, unless it says the same already.
 * Conditional on the object as it was read; a conflict is thrown and the reconcile runs again on fresher data.
 */
export async function syncStatus<T extends KubeObject & { status?: object }>(
  resource: ResourceClient<T>,
  object: T,
  status: NonNullable<T["status"]>,
  fieldManager: string,
): Promise<T> {
  if (equalJson(object.status ?? {}, status)) return object;
  return resource.updateStatus({ ...object, status }, { fieldManager });
}
