import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { argosy } from "../support/argosy.js";
import { volumeOf, writeModels } from "../support/numbered-models.js";
import { allOk, clientsFolder, noPods, pythonTool, runChecks, sharedCluster, testWith } from "./support.js";

const kserve = pythonTool("serving-kserve", "serving/requirements-kserve.txt");
const cluster = sharedCluster("with");
const namespace = "models";
/** Pods may see it, which they may not Argosy's data directory. */
const models = mkdtempSync(join(tmpdir(), "argosy-models-"));
afterAll(() => rmSync(models, { recursive: true, force: true }));

const checks = [
  "create_and_wait",
  "watch",
  "predict",
  "list_and_get",
  "canary_by_patch",
  "rollback_by_patch",
  "promotion_by_replace",
  "framework_keys",
  "named_canary",
  "faults",
  "refusals",
  "graph",
  "trained_model",
  "credentials",
  "deletion",
];

/** A namespace with the numbered models as a volume. */
async function furnish(): Promise<Readonly<Record<string, string>>> {
  const { directory, kubeconfig, env } = await cluster();
  chmodSync(models, 0o755);
  writeModels(models, 2);
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    ...volumeOf(models, namespace),
  ];
  const file = join(directory, "volume.json");
  writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
  const { code, stderr } = await argosy("apply", "--kubeconfig", kubeconfig, "-f", file);
  expect(code, stderr).toBe(0);
  return env;
}

testWith(kserve, "KServeClient of KServe's SDK", async (folder, context) => {
  if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);
  const env = await furnish();
  const program = join(clientsFolder, "serving", "program.py");
  const results = await runChecks("python3", [program, "kserve-client", "0", "0"], {
    env: { ...env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" },
  });

  expect(results).toEqual(allOk(...checks));
});
