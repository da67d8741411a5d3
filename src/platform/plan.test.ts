import { expect, test } from "vitest";
import { numberMembers, planClusters } from "./plan.js";

const prefer = async (_name: string, preferred: number): Promise<number> => preferred;

test("hub and members get names, addresses and ports of their own", async () => {
  const { wanted } = numberMembers(
    [],
    [
      { name: "cloud", nodes: 2 },
      { name: "edge", nodes: 1 },
    ],
  );

  const plans = await planClusters(wanted, { kind: "namespaces", piece: 3 }, prefer);

  expect(plans).toEqual([
    expect.objectContaining({ name: "hub", role: "hub", index: 0, nodes: [], apiPort: 6440, ingressPort: 8080 }),
    {
      name: "cloud",
      role: "member",
      index: 1,
      nodes: ["cloud-1", "cloud-2"],
      apiPort: 6441,
      ingressPort: 8081,
      serviceCidr: "198.19.25.0/24",
      domain: "cloud.argosy.localhost",
    },
    expect.objectContaining({ name: "edge", nodes: ["edge"], apiPort: 6442, serviceCidr: "198.19.26.0/24" }),
  ]);
});

test("without network namespaces services have loopback addresses, apart for each data directory", async () => {
  const members = [{ name: "edge", nodes: 1, index: 1 }];
  const ranges = async (piece: number): Promise<string[]> =>
    (await planClusters(members, { kind: "loopback", piece }, prefer)).map(({ serviceCidr }) => serviceCidr);

  expect(await ranges(0)).toEqual(["127.96.0.0/24", "127.96.1.0/24"]);
  expect(await ranges(31)).toEqual(["127.127.0.0/24", "127.127.1.0/24"]);
});

test("ports are asked for by the names that the state keeps", async () => {
  const asked: string[] = [];
  await planClusters([{ name: "edge", nodes: 1, index: 1 }], { kind: "loopback", piece: 0 }, async (name, port) => {
    asked.push(`${name} ${port}`);
    return port;
  });

  expect(asked).toEqual(["hub 6440", "ingress 8080", "edge 6441", "ingress-edge 8081"]);
});

test("a member keeps its number through starts without it, and nobody else gets it", () => {
  const first = numberMembers(
    [],
    [
      { name: "cloud", nodes: 1 },
      { name: "edge", nodes: 1 },
    ],
  );
  const second = numberMembers(first.wanted, [
    { name: "cloud", nodes: 3 },
    { name: "lab", nodes: 1 },
  ]);
  const third = numberMembers(
    [...second.wanted, ...second.resting],
    [
      { name: "far", nodes: 1 },
      { name: "edge", nodes: 1 },
    ],
  );

  expect(second.wanted).toEqual([
    { name: "cloud", nodes: 3, index: 1 },
    { name: "lab", nodes: 1, index: 3 },
  ]);
  expect(second.resting).toEqual([{ name: "edge", nodes: 1, index: 2 }]);
  expect(third.wanted.map(({ name, index }) => `${name} ${index}`)).toEqual(["far 4", "edge 2"]);
  expect(third.resting.map(({ name }) => name)).toEqual(["cloud", "lab"]);
});
