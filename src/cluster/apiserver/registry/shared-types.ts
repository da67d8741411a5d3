import { createHash } from "node:crypto";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Convert } from "./conversion.js";
import { customVersions } from "./custom-definition.js";
import { CustomType } from "./custom-type.js";
import { asObject } from "./read.js";

/** Types that some server of this process serves, by the content of their definition. */
const served = new Map<string, WeakRef<readonly CustomType[]>>();
const gone = new FinalizationRegistry<string>((key) => {
  if (served.get(key)?.deref() === undefined) served.delete(key);
});

/**
 * The served versions of a CRD, best first. Servers of one process that have the same definition get the same types, so that a fleet in one process
 * compiles and holds each once; types hold no state of a server. What a webhook converts is not shared: the webhook is the server's own.
 */
export function typesOf(definition: JsonObject, convert: Convert | undefined): readonly CustomType[] {
  const make = (): CustomType[] => customVersions(definition).map((version) => new CustomType(version, convert));
  if (convert !== undefined) return make();
  const key = createHash("sha256")
    .update(JSON.stringify(asObject(definition["spec"])))
    .digest("base64");
  const known = served.get(key)?.deref();
  if (known !== undefined) return known;
  const made = make();
  served.set(key, new WeakRef(made));
  gone.register(made, key);
  return made;
}
