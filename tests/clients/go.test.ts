import { join } from "node:path";
import { expect } from "vitest";
import { allOk, goTool, noPods, runChecks, sharedCluster, testWith } from "./support.js";

const cluster = sharedCluster();

const checksOfClientGo = [
  "discovery",
  "openAPI",
  "mapper",
  "protobuf",
  "informers",
  "watchList",
  "dynamicInformers",
  "metadataInformers",
  "workQueue",
  "leaderElection",
  "apply",
  "extract",
  "scaling",
  "retryWatcher",
  "conflicts",
  "errorsByReason",
  "pages",
  "events",
];
const checksOfPods = ["podStreams"];
const checksOfControllerRuntime = [
  "definition",
  "managerStarts",
  "mutatingWebhook",
  "validatingWebhook",
  "reconciles",
  "owns",
  "scales",
  "printsColumns",
  "recordsEvents",
  "finalizes",
  "handsOver",
];

const clientGo = goTool("client-go");

testWith(clientGo, "a program written with client-go", async (folder) => {
  const { env } = await cluster();

  const found = await runChecks(join(folder, "client-go"), checksOfClientGo, { env });

  expect(found).toEqual(allOk(...checksOfClientGo));
});

testWith(clientGo, "pods' streams as client-go opens them", async (folder, context) => {
  if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);
  const { env } = await cluster();

  const found = await runChecks(join(folder, "client-go"), checksOfPods, { env });

  expect(found).toEqual(allOk(...checksOfPods));
});

testWith(goTool("controller-runtime"), "a manager written with controller-runtime", async (folder) => {
  const { env } = await cluster();

  const found = await runChecks(join(folder, "controller-runtime"), [], { env });

  expect(found).toEqual(allOk(...checksOfControllerRuntime));
});
