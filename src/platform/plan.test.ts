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
      serviceOverflow: "242.192.64.0/18",
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

test.each(["namespaces", "loopback"] as const)("what further Services get is nobody else's: %s", async (kind) => {
  const members = Array.from({ length: 63 }, (_, index) => ({ name: `m${index}`, nodes: 1, index: index + 1 }));
  const plans = await Promise.all([0, 1, 30, 31].map((piece) => planClusters(members, { kind, piece }, prefer)));
  const ranges = plans.flat().map(({ serviceOverflow }) => {
    const [address = "", bits = ""] = serviceOverflow.split("/");
    const first = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
    return { first, end: first + 2 ** (32 - Number(bits)), size: 2 ** (32 - Number(bits)) };
  });
  ranges.sort((a, b) => a.first - b.first);

  expect(ranges).toHaveLength(256);
  for (const [index, { first, end, size }] of ranges.entries()) {
    expect(first % size).toBe(0);
    expect(end).toBeLessThanOrEqual(ranges[index + 1]?.first ?? (kind === "namespaces" ? 250 : 128) * 2 ** 24);
  }
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
