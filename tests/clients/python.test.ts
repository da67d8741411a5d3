import { join } from "node:path";
import { expect } from "vitest";
import { allOk, clientsFolder, noPods, pythonTool, runChecks, sharedCluster, testWith } from "./support.js";

const python = pythonTool("python", "python/requirements.txt");
const cluster = sharedCluster();

const checks = [
  "version_and_discovery",
  "typed_objects",
  "lists",
  "every_list_can_be_read",
  "patches",
  "apply",
  "subresources",
  "watch_events",
  "watch_resumes",
  "watch_from_too_long_ago",
  "watch_with_initial_events",
  "shared_informer",
  "leader_election_with_leases",
  "leader_election_with_config_maps",
  "custom_objects",
  "dynamic_client",
  "create_from_yaml",
  "finalizers_and_owners",
  "asynchronous_client",
];
const checksOfPods = ["pod_logs", "pod_exec", "port_forward", "eviction_and_deletion", "rollout"];

async function run(folder: string, names: readonly string[]): Promise<Record<string, string>> {
  const { env } = await cluster();
  return runChecks("python3", [join(clientsFolder, "python", "program.py"), "one", ...names], {
    env: { ...env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" },
  });
}

testWith(python, "the Python client, typed, dynamic and asynchronous", async (folder) => {
  expect(await run(folder, checks)).toEqual(allOk(...checks));
});

testWith(python, "the Python client and pods", async (folder, context) => {
  if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);

  expect(await run(folder, checksOfPods)).toEqual(allOk(...checksOfPods));
});
