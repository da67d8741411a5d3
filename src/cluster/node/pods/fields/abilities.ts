import type { Isolation } from "../../isolation/detect.js";
import type { PodRuntime } from "../../runtime/types.js";
import type { Abilities } from "./types.js";

/** What a node can do, from its runtime and what was found out about its machine; a simulated node can do everything. */
export function abilitiesOf(runtime: PodRuntime["name"], isolation: Isolation | undefined): Abilities {
  if (runtime === "simulated" || isolation === undefined)
    return { mode: "root", ownNetwork: true, limits: new Set(["cpu", "memory", "pids"]) };
  const folders = isolation.cgroup?.folders ?? {};
  return {
    mode: runtime === "podman" ? "podman" : isolation.mode === "user" ? "user" : "root",
    ownNetwork: isolation.capabilities.some((each) => each.capability === "network-namespace" && each.available),
    limits: new Set((["cpu", "memory", "pids"] as const).filter((name) => folders[name] !== undefined)),
  };
}
