import type { InformerSet } from "../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../kernel/kinds/index.js";
import { controllerOf } from "../../kernel/kinds/index.js";

const BY_OWNER = "serving-controller-uid";

/** The objects of a kind that an object controls, without those that are being deleted. */
export function ownedBy<T extends KubeObject>(
  informers: InformerSet,
  kind: Kind<T>,
  { metadata: { uid } }: KubeObject,
): readonly T[] {
  const objects = informers.informer(kind);
  objects.addIndex(BY_OWNER, (object) => {
    const owner = controllerOf(object);
    return owner === undefined ? [] : [owner.uid];
  });
  return objects.byIndex(BY_OWNER, uid).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}
