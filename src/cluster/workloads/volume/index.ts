/**
 * Claims and volumes. In: PersistentVolumeClaims, PersistentVolumes, StorageClasses, pods. Out: bindings, phases, claims of
 * ephemeral volumes. May use: kernel client, control, kinds.
 */
export { claimBinder } from "./binder.controller.js";
export { ephemeralVolumes } from "./ephemeral.controller.js";
export { volumePhases } from "./volume.controller.js";
