import type { ResourceClient } from "../client/index.js";
import { isNotFound } from "../errors/index.js";
import type { KubeObject } from "../kinds/index.js";

/** Writes the list of finalizers, conditional on the object as it was read. */
function writeFinalizers<T extends KubeObject>(
  resource: ResourceClient<T>,
  object: T,
  finalizers: string[],
  fieldManager: string,
): Promise<T> {
  const { name, namespace, resourceVersion } = object.metadata;
  const patch = { metadata: { resourceVersion, finalizers } };
  return resource.patch(name, "merge", patch, { fieldManager, ...(namespace === undefined ? {} : { namespace }) });
}

/** Adds a finalizer unless the object has it. Throws a conflict when the object changed meanwhile. */
export async function addFinalizer<T extends KubeObject>(
  resource: ResourceClient<T>,
  object: T,
  finalizer: string,
  fieldManager: string,
): Promise<T> {
  const { finalizers = [] } = object.metadata;
  if (finalizers.includes(finalizer)) return object;
  return writeFinalizers(resource, object, [...finalizers, finalizer], fieldManager);
}

/** Removes a finalizer if the object has it; an object that is gone is as good. Throws a conflict when the object changed meanwhile. */
export async function removeFinalizer<T extends KubeObject>(
  resource: ResourceClient<T>,
  object: T,
  finalizer: string,
  fieldManager: string,
): Promise<void> {
  const { finalizers = [] } = object.metadata;
  if (!finalizers.includes(finalizer)) return;
  try {
    await writeFinalizers(
      resource,
      object,
      finalizers.filter((other) => other !== finalizer),
      fieldManager,
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
