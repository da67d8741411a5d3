/** Fields that are parts of pods, for kinds that inline them. Their meaning is Kubernetes'. */
import { Field, type Presence, type Schema } from "../../../kernel/schema/index.js";
import { nativeShape } from "./native-shapes.unsafe.js";

/** How much of a shape is told: all of it, or without what is large and seldom written by hand (`checkPods` looks at that when objects are written). */
export type Depth = "full" | "lean" | "leanest";

const LEAN = ["lifecycle", "securityContext", "resizePolicy", "ephemeralContainers", "restartPolicyRules"];
const OPEN: Readonly<Record<Depth, readonly string[]>> = {
  full: ["ephemeralContainers"],
  lean: [...LEAN, "affinity", "initContainers", "volumes", "topologySpreadConstraints", "dnsConfig", "resourceClaims"],
  leanest: [...LEAN, "livenessProbe", "readinessProbe", "startupProbe", "valueFrom", "envFrom", "claims"],
};
const described = (properties: Readonly<Record<string, Schema>>, where: string): Record<string, Schema> =>
  Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [
      name,
      { title: titleOf(schema), description: `As in a ${where}.`, ...schema },
    ]),
  );

const titleOf = (schema: Schema): string =>
  schema.title ?? (schema.type === "array" ? "list" : (schema.type ?? "integer or string"));

/** The field's object also has the fields of a PodSpec, none of them required. */
export function withPodSpec<T, P extends Presence>(field: Field<T, P>, depth: Depth = "full"): Field<T, P> {
  return withShape(field, nativeShape("core.v1.PodSpec", OPEN[depth]), { where: "PodSpec", except: [] });
}

/** The field's object also has the fields of a container, none of them required. */
export function withContainer<T, P extends Presence>(field: Field<T, P>, depth: Depth = "full"): Field<T, P> {
  return withShape(field, nativeShape("core.v1.Container", OPEN[depth]), { where: "container", except: [] });
}

/** A PodSpec. */
export function podSpec(depth: Depth): Field<object, "required"> {
  return native("core.v1.PodSpec", OPEN[depth]);
}

/** The field's object also has some fields of a PodSpec. */
export function withPodParts<T, P extends Presence>(field: Field<T, P>, names: readonly string[]): Field<T, P> {
  const shape = nativeShape("core.v1.PodSpec", ["ephemeralContainers"]);
  const except = Object.keys(shape.properties ?? {}).filter((name) => !names.includes(name));
  return withShape(field, shape, { where: "PodSpec", except });
}

function withShape<T, P extends Presence>(
  field: Field<T, P>,
  shape: Schema,
  { where, except }: { readonly where: string; readonly except: readonly string[] },
): Field<T, P> {
  const own = field.schema.properties ?? {};
  const added = Object.entries(shape.properties ?? {}).filter(([name]) => !except.includes(name) && !(name in own));
  return field.extend({ properties: { ...own, ...described(Object.fromEntries(added), where) } });
}

/** A field of a type of Kubernetes; values are JSON as that type writes it. */
export function native(name: string, open: readonly string[] = []): Field<object, "required"> {
  return new Field<object, "required">(nativeShape(name, open), "required");
}
