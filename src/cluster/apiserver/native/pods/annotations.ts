import type { Faults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObject, asString, at } from "../../registry/read.js";
import { descendingPath } from "../rules.js";
import { containersOf } from "./containers.js";

/** Marks pods that stand for those of a node's own files. */
export const mirrorAnnotation = "kubernetes.io/config.mirror";
const deletionCost = "controller.kubernetes.io/pod-deletion-cost";
const seccompOfPod = "seccomp.security.alpha.kubernetes.io/pod";
const seccompOfContainer = "container.seccomp.security.alpha.kubernetes.io/";
/** Prefix of annotations that name a container's AppArmor profile. */
export const appArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/";
const isInt32 = (text: string): boolean =>
  /^([1-9]\d*|-[1-9]\d*|0)$/.test(text) && Number(text) <= 2_147_483_647 && Number(text) >= -2_147_483_648;

/** Checks the annotations that mean something for pods. */
export function validatePodAnnotations(metadata: JsonObject, spec: JsonObject, path: string, faults: Faults): void {
  const annotations = asObject(metadata["annotations"]);
  const mirror = annotations[mirrorAnnotation];
  if (mirror !== undefined && asString(spec["nodeName"]) === "")
    faults.invalid(`${path}[${mirrorAnnotation}]`, mirror, "must set spec.nodeName if mirror pod annotation is set");
  const cost = annotations[deletionCost];
  if (cost !== undefined && !isInt32(asString(cost)))
    faults.invalid(`${path}[${deletionCost}]`, cost, "must be a 32bit integer");
  const names = new Set(containersOf(spec, "").map(([container]) => asString(container["name"])));
  for (const [key, value] of Object.entries(annotations)) {
    const profile = asString(value);
    if (key === seccompOfPod || key.startsWith(seccompOfContainer)) checkSeccompName(profile, `${path}.${key}`, faults);
    if (!key.startsWith(appArmorAnnotation)) continue;
    const name = key.slice(appArmorAnnotation.length);
    if (!names.has(name)) faults.invalid(`${path}[${key}]`, name, "container not found");
    if (!isAppArmorName(profile))
      faults.invalid(`${path}[${key}]`, profile, `invalid AppArmor profile name: ${JSON.stringify(profile)}`);
  }
}

function isAppArmorName(profile: string): boolean {
  return ["", "runtime/default", "unconfined"].includes(profile) || profile.startsWith("localhost/");
}

function checkSeccompName(profile: string, path: string, faults: Faults): void {
  if (["runtime/default", "docker/default", "unconfined"].includes(profile)) return;
  if (profile.startsWith("localhost/")) descendingPath(profile.slice("localhost/".length), path, faults);
  else faults.invalid(path, profile, "must be a valid seccomp profile");
}

const namesOfTypes: Readonly<Record<string, readonly string[]>> = {
  Unconfined: ["unconfined"],
  RuntimeDefault: ["runtime/default", "docker/default"],
};

/** Where a profile is named by an annotation and by a field, both must say the same. */
export function validateAnnotatedProfiles(metadata: JsonObject, spec: JsonObject, path: string, faults: Faults): void {
  const annotations = asObject(metadata["annotations"]);
  const compare = (key: string, field: JsonObject[string], place: string, kind: "seccomp" | "apparmor"): void => {
    const named = annotations[key];
    if (named === undefined || field === undefined) return;
    const [type, text] = [asString(at(field, "type")), asString(named)];
    const words = (what: string): string => `${kind} ${what} in annotation and field must match`;
    const known = namesOfTypes[type];
    if (known !== undefined) {
      const isSame = known.includes(text) && !(kind === "apparmor" && text === "docker/default");
      if (!isSame) faults.forbidden(`${place}.type`, words("type"));
    } else if (type === "Localhost") {
      if (!text.startsWith("localhost/")) faults.forbidden(`${place}.type`, words("type"));
      else if (text.slice("localhost/".length) !== at(field, "localhostProfile"))
        faults.forbidden(`${place}.localhostProfile`, words("profile"));
    }
  };
  const ofPod = asObject(spec["securityContext"]);
  compare(seccompOfPod, ofPod["seccompProfile"], `${path}.securityContext.seccompProfile`, "seccomp");
  const containers = containersOf(spec, path);
  for (const [container, place] of containers) {
    const own = asObject(container["securityContext"]);
    const name = asString(container["name"]);
    compare(seccompOfContainer + name, own["seccompProfile"], `${place}.securityContext.seccompProfile`, "seccomp");
  }
  if (at(spec, "os", "name") === "windows") return;
  for (const [container, place] of containers) {
    const profile = asObject(container["securityContext"])["appArmorProfile"] ?? ofPod["appArmorProfile"];
    const key = appArmorAnnotation + asString(container["name"]);
    compare(key, profile, `${place}.securityContext.appArmorProfile`, "apparmor");
  }
}

/** Checks annotations that may not come, change or go. */
export function validateAnnotationUpdates(object: JsonObject, old: JsonObject, faults: Faults): void {
  const path = "metadata.annotations";
  const [now, before] = [asObject(at(object, "metadata", "annotations")), asObject(at(old, "metadata", "annotations"))];
  for (const [key, value] of Object.entries(before)) {
    if (now[key] === value) continue;
    if (key.startsWith(appArmorAnnotation))
      faults.forbidden(`${path}[${key}]`, "may not remove or update AppArmor annotations");
    if (key === mirrorAnnotation) faults.forbidden(`${path}[${key}]`, "may not remove or update mirror pod annotation");
  }
  for (const key of Object.keys(now)) {
    if (before[key] !== undefined) continue;
    if (key.startsWith(appArmorAnnotation)) faults.forbidden(`${path}[${key}]`, "may not add AppArmor annotations");
    if (key === mirrorAnnotation) faults.forbidden(`${path}[${key}]`, "may not add mirror pod annotation");
  }
  validatePodAnnotations(asObject(object["metadata"]), asObject(object["spec"]), path, faults);
}
