import { chmodSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { unless } from "../../../testing/unless.js";
import { giveToGroup } from "./ownership.js";

const noRoot = process.getuid?.() === 0 ? undefined : "only root gives files to other groups";

unless(noRoot)(
  "everything in a volume belongs to the group; links are left alone; OnRootMismatch looks at the top",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "argosy-owned-"));
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "sub", "f"), "");
    chmodSync(join(folder, "sub", "f"), 0o600);
    symlinkSync("/etc/passwd", join(folder, "link"));
    const look = (path: string): string => {
      const { gid, mode } = lstatSync(join(folder, path));
      return `${gid} ${(mode & 0o7777).toString(8)}`;
    };

    await giveToGroup(folder, 4321, undefined);
    expect([look("."), look("sub"), look("sub/f")]).toEqual(["4321 2770", "4321 2775", "4321 660"]);
    expect(lstatSync("/etc/passwd").gid).toBe(0);

    chmodSync(join(folder, "sub", "f"), 0o600);
    await giveToGroup(folder, 4321, "OnRootMismatch");
    expect(look("sub/f")).toBe("4321 600");
    await giveToGroup(folder, 4321, "Always");
    expect(look("sub/f")).toBe("4321 660");
    rmSync(folder, { recursive: true });
  },
);
