import { expect, test } from "vitest";
import type { Pod } from "../../../kernel/kinds/index.js";
import { diskExcess, diskLimitsOf } from "./disk-limits.js";

const container = (name: string, limit?: string) => ({
  name,
  ...(limit === undefined ? {} : { resources: { limits: { "ephemeral-storage": limit } } }),
});
const pod = (spec: object): Pod =>
  ({ metadata: { name: "p" }, spec: { containers: [container("a")], ...spec } }) as unknown as Pod;
const excess = async (spec: object, used: Record<string, number>): Promise<string | undefined> => {
  const limits = diskLimitsOf(pod(spec));
  const of = (name: string): Promise<number | undefined> => Promise.resolve(used[name]);
  return limits === undefined ? "no limits" : diskExcess(limits, { volume: of, container: of });
};

test("a volume, a container, and all together have their limits", async () => {
  const volumes = [
    { name: "v", emptyDir: { sizeLimit: "1Ki" } },
    { name: "w", emptyDir: {} },
    { name: "m", emptyDir: { medium: "Memory" } },
  ];
  const containers = [container("a", "1Ki"), container("b", "1Ki")];

  expect(await excess({}, {})).toBe("no limits");
  expect(await excess({ volumes }, { v: 1024 })).toBeUndefined();
  expect(await excess({ volumes }, { v: 1025 })).toBe('Usage of EmptyDir volume "v" exceeds the limit "1Ki". ');
  expect(await excess({ containers }, { b: 1025 })).toBe(
    'Container b exceeded its local ephemeral storage limit "1Ki". ',
  );
  expect(await excess({ containers, volumes }, { a: 1000, b: 1000, w: 48, m: 9999 })).toBeUndefined();
  expect(await excess({ containers, volumes }, { a: 1000, b: 1000, w: 49 })).toBe(
    "Pod ephemeral local storage usage exceeds the total limit of containers 2048. ",
  );
  expect(await excess({ containers: [container("a", "1Ki"), container("b")], volumes }, { b: 9999 })).toBeUndefined();
});
