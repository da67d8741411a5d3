import type { Isolation } from "../../isolation/detect.js";
import type { Abilities } from "./types.js";

/** What a node can do, from what was found out about its machine; a simulated node can do everything. */
export function abilitiesOf(isolation: Isolation | undefined): Abilities {
  if (isolation === undefined) return { mode: "root", ownNetwork: true, limits: new Set(["cpu", "memory", "pids"]) };
  const folders = isolation.cgroup?.folders ?? {};
  return {
    mode: isolation.mode === "user" ? "user" : "root",
    ownNetwork: isolation.capabilities.some((each) => each.capability === "network-namespace" && each.available),
    limits: new Set((["cpu", "memory", "pids"] as const).filter((name) => folders[name] !== undefined)),
  };
}
