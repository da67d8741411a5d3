import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/types.js";
import { invalid } from "../failures.js";
import type { AdmissionPlugin, ResourceType } from "../types.js";

/** A look at objects of one kind, in any version, by somebody outside the API server. */
export interface ObjectCheck {
  readonly group: string;
  readonly kind: string;
  /** Called for what is created or changed, not for status. Faults refuse the write; what it throws is logged and refuses nothing. */
  review(
    object: JsonObject,
    old: JsonObject | undefined,
  ): Promise<{ readonly faults: readonly StatusCause[]; readonly warnings: readonly string[] }>;
}

/** Asks the checks that were given to the server. */
export function objectChecks(checks: readonly ObjectCheck[], log: Logger): AdmissionPlugin {
  const reviewed = async (
    check: ObjectCheck,
    type: ResourceType,
    object: JsonObject,
    old: JsonObject | undefined,
  ): ReturnType<ObjectCheck["review"]> => {
    const coordinates = { apiVersion: `${type.group}/${type.version}`, kind: type.kind };
    try {
      return await check.review(
        { ...object, ...coordinates },
        old === undefined ? undefined : { ...old, ...coordinates },
      );
    } catch (error) {
      log.warn("an object was not checked by its module", { err: error, kind: type.kind });
      return { faults: [], warnings: [] };
    }
  };
  return {
    name: "ObjectChecks",
    async validate({ operation, type, subresource, name, object, old, warn }) {
      if (object === undefined || subresource !== "" || (operation !== "CREATE" && operation !== "UPDATE")) return;
      for (const check of checks) {
        if (check.group !== type.group || check.kind !== type.kind) continue;
        const { faults, warnings } = await reviewed(check, type, object, old);
        if (faults.length > 0) throw invalid(type, name, faults);
        for (const warning of warnings) warn(warning);
      }
    },
  };
}
