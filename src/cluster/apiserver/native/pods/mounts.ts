import type { Faults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObjects, asString, at } from "../../registry/read.js";
import { descendingPath, needed, oneOf } from "../rules.js";

/** Where a container's volumes are checked. */
export interface MountContext {
  readonly path: string;
  readonly faults: Faults;
  /** The sound volumes of the pod. */
  readonly volumes: ReadonlyMap<string, JsonObject>;
}

const propagations = ["Bidirectional", "HostToContainer", "None"];
const readOnlyModes = ["Disabled", "Enabled", "IfPossible"];

/** Paths by the names of volumes; of two, the last counts, as upstream. */
const pathsOf = (list: readonly JsonObject[], field: string): ReadonlyMap<string, string> =>
  new Map(list.map((one) => [asString(one["name"]), asString(one[field])]));

/** Checks what a container mounts, and what it uses as a disk. */
export function validateMounts(container: JsonObject, context: MountContext): void {
  const mounts = asObjects(container["volumeMounts"]);
  const devices = asObjects(container["volumeDevices"]);
  const devicePaths = pathsOf(devices, "devicePath");
  const mountPaths = pathsOf(mounts, "mountPath");
  const taken = new Set<string>();
  for (const [index, mount] of mounts.entries()) {
    const place = `${context.path}.volumeMounts[${index}]`;
    const { faults } = context;
    const name = needed(mount, "name", place, faults);
    if (!context.volumes.has(name)) faults.notFound(`${place}.name`, name);
    const target = needed(mount, "mountPath", place, faults);
    if (taken.has(target)) faults.invalid(`${place}.mountPath`, target, "must be unique");
    taken.add(target);
    if (devicePaths.has(name)) faults.invalid(`${place}.name`, name, "must not already exist in volumeDevices");
    if ([...devicePaths.values()].includes(target))
      faults.invalid(`${place}.mountPath`, target, "must not already exist as a path in volumeDevices");
    validateMount(mount, container, { ...context, place });
  }
  validateDevices(devices, mountPaths, context);
}

function validateMount(mount: JsonObject, container: JsonObject, context: MountContext & { place: string }): void {
  const { faults, place } = context;
  const list = `${context.path}.volumeMounts`;
  const [subPath, expression] = [asString(mount["subPath"]), asString(mount["subPathExpr"])];
  // As upstream, these are reported at the path of the list.
  if (subPath !== "") descendingPath(subPath, `${list}.subPath`, faults);
  if (expression !== "") {
    if (subPath !== "")
      faults.invalid(`${place}.subPathExpr`, expression, "subPathExpr and subPath are mutually exclusive");
    descendingPath(expression, `${list}.subPathExpr`, faults);
  }
  const propagation = mount["mountPropagation"];
  if (propagation !== undefined) {
    oneOf(propagation, propagations, `${list}.mountPropagation`, faults);
    if (propagation === "Bidirectional" && at(container, "securityContext", "privileged") !== true)
      faults.forbidden(
        `${list}.mountPropagation`,
        "Bidirectional mount propagation is available only to privileged containers",
      );
  }
  const recursive = mount["recursiveReadOnly"];
  if (recursive === undefined || recursive === "Disabled") return;
  const field = `${list}.recursiveReadOnly`;
  if (!readOnlyModes.includes(asString(recursive))) {
    oneOf(recursive, readOnlyModes, field, faults);
    return;
  }
  if (mount["readOnly"] !== true) faults.forbidden(field, "may only be specified when readOnly is true");
  if (propagation !== undefined && propagation !== "None")
    faults.forbidden(field, "may only be specified when mountPropagation is None or not specified");
}

function validateDevices(
  devices: readonly JsonObject[],
  mounted: ReadonlyMap<string, string>,
  { path, faults, volumes }: MountContext,
): void {
  const names = new Set<string>();
  const paths = new Set<string>();
  for (const [index, device] of devices.entries()) {
    const place = `${path}.volumeDevices[${index}]`;
    const name = needed(device, "name", place, faults);
    if (names.has(name)) faults.invalid(`${place}.name`, name, "must be unique");
    const volume = volumes.get(name);
    if (volume === undefined) faults.notFound(`${place}.name`, name);
    else if (volume["persistentVolumeClaim"] === undefined && volume["ephemeral"] === undefined)
      faults.invalid(
        `${place}.name`,
        name,
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
      );
    const target = needed(device, "devicePath", place, faults);
    if (paths.has(target)) faults.invalid(`${place}.devicePath`, target, "must be unique");
    if (target.split("/").includes(".."))
      faults.invalid(`${place}.devicePath`, target, "can not contain backsteps ('..')");
    else paths.add(target);
    if (mounted.has(name)) faults.invalid(`${place}.name`, name, "must not already exist in volumeMounts");
    if ([...mounted.values()].includes(target))
      faults.invalid(`${place}.devicePath`, target, "must not already exist as a path in volumeMounts");
    if (name !== "") names.add(name);
  }
}
