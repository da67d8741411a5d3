/** Kinds of the group serving.kserve.io: their shapes hold whole PodSpecs, so they are made when somebody looks at them. */
import type { KindDefinition, KindOptions, Resource } from "../../../kernel/kinds/index.js";
import { defineKind } from "../../../kernel/kinds/index.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";

/** The API group of KServe. */
export const GROUP = "serving.kserve.io";

/** A further version and its shape. */
interface OtherVersion<Spec, Status> {
  readonly version: string;
  readonly shape: () => Pick<KindOptions<Spec, Status>, "spec" | "status">;
}

/** `defineKind` with the shape made at its first use. */
export function defineLazily<Spec, Status = never>(
  options: Omit<KindOptions<Spec, Status>, "group" | "spec" | "status"> & {
    readonly shape: () => Pick<KindOptions<Spec, Status>, "spec" | "status">;
    readonly hasStatus: boolean;
    readonly others?: readonly OtherVersion<Spec, Status>[];
    /** Fields beside the spec. */
    readonly top?: Readonly<Record<string, Schema>>;
  },
): KindDefinition<Resource<Spec, Status>> {
  const { shape, hasStatus, others = [], top = {}, ...rest } = options;
  const define = (make: typeof shape): Schema => {
    const { schema } = defineKind<Spec, Status>({ ...rest, group: GROUP, ...make() });
    return { ...schema, properties: { ...schema.properties, ...top } };
  };
  const { schema: _, type: __, ...coordinates } = defineKind({ ...rest, group: GROUP, spec: s.object({}) });
  let made: Schema | undefined;
  let madeOthers: KindDefinition["otherVersions"];
  return {
    ...coordinates,
    statusSubresource: hasStatus,
    get schema() {
      made ??= define(shape);
      return made;
    },
    ...(others.length === 0
      ? {}
      : {
          get otherVersions() {
            madeOthers ??= others.map((other) => ({ version: other.version, schema: define(other.shape) }));
            return madeOthers;
          },
        }),
  };
}
