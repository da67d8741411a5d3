import { metadataOf, stringsAt } from "../fields.js";
import type { AdmissionPlugin } from "../types.js";

const finalizers: Readonly<Record<string, string>> = {
  persistentvolumes: "kubernetes.io/pv-protection",
  persistentvolumeclaims: "kubernetes.io/pvc-protection",
};

/** Storage is held until nobody uses it any more; the controllers of that name let it go. */
export function storageProtection(): AdmissionPlugin {
  return {
    name: "StorageObjectInUseProtection",
    mutate({ operation, type, subresource, object }) {
      const finalizer = finalizers[type.plural];
      if (operation !== "CREATE" || type.group !== "" || subresource !== "" || finalizer === undefined) return;
      if (object === undefined) return;
      const metadata = metadataOf(object);
      const present = stringsAt(metadata, "finalizers");
      if (!present.includes(finalizer)) metadata["finalizers"] = [...present, finalizer];
    },
  };
}
