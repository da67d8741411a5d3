/**
 * Storage that is in use is not taken away: lets go of claims that no pod uses any more, and of volumes that no claim is bound
 * to. In: claims, volumes, pods. Out: finalizers dropped. May use: kernel client, control, kinds.
 */
export { claimProtection, volumeProtection } from "./protection.controller.js";
