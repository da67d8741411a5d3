import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiError } from "../src/kernel/errors/index.js";
import { ConfigMapKind } from "../src/kernel/kinds/index.js";
import { argosy, type Finished, type Running, startArgosy, withDataDirectory } from "./support/argosy.js";
import { addressesIn, clientOf, gatewayProcessOf } from "./support/fleet.js";

// Small fleets: a hub and one member, with nothing in them.
const start = (data: string): Running => startArgosy(["up", "--data", data, "--members", "edge"]);

async function ready(running: Running): Promise<Running> {
  await running.says("\nready: ");
  return running;
}

async function ended(running: Running, signal: "SIGTERM" | "SIGKILL"): Promise<Finished> {
  running.child.kill(signal);
  return running.finished;
}

/** Creates a ConfigMap of about `bytes` in the hub; resolves with its name, or rejects as the hub refused it. */
async function write(data: string, name: string, bytes = 100): Promise<string> {
  const hub = await clientOf(data, "hub");
  try {
    await hub
      .resource(ConfigMapKind)
      .create(
        { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { text: "x".repeat(bytes) } },
        { namespace: "default" },
      );
    return name;
  } finally {
    await hub.close();
  }
}

async function namesIn(data: string): Promise<string[]> {
  const hub = await clientOf(data, "hub");
  try {
    const { items } = await hub.resource(ConfigMapKind).list({ namespace: "default" });
    return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("w-"));
  } finally {
    await hub.close();
  }
}

const portOf = (url: string | undefined): number => Number(new URL(url ?? "http://none").port);

test("taken ports: it steps aside, says so, and stays where it went", async () => {
  await withDataDirectory(async (data) => {
    // Ports of its own, which no other fleet on this machine takes while this one is down.
    const base = 20_000 + (process.pid % 80) * 120;
    const names = ["hub", "edge", "ingress", "ingress-edge", "northbound", "artifacts"];
    const ports = Object.fromEntries(names.map((name, index) => [name, base + 20 * index]));
    writeFileSync(join(data, "argosy.json"), JSON.stringify({ version: 1, members: [], ports }));
    await ended(await ready(start(data)), "SIGTERM");
    const first = addressesIn(data);
    const taken = [portOf(first.clusters[0]?.api), portOf(first.ingress), portOf(first.northbound)];
    expect(taken).toEqual([ports["hub"], ports["ingress"], ports["northbound"]]);
    const squatters = await Promise.all(
      taken.map(
        (port) =>
          new Promise<Server>((resolve) => {
            const server = createServer().listen(port, "127.0.0.1", () => resolve(server));
          }),
      ),
    );
    const moved = await ended(await ready(start(data)), "SIGTERM");
    const second = addressesIn(data);
    for (const squatter of squatters) {
      squatter.close();
    }
    const stable = await ended(await ready(start(data)), "SIGTERM");

    for (const [index, name] of ["hub", "ingress", "northbound"].entries()) {
      expect(moved.stderr).toMatch(
        new RegExp(`port ${taken[index]} \\(${name}\\) is taken by another program: using \\d+`),
      );
    }
    const movedTo = [portOf(second.clusters[0]?.api), portOf(second.ingress), portOf(second.northbound)];
    expect(movedTo.filter((port) => taken.includes(port))).toEqual([]);
    expect(second.clusters[1]?.api).toBe(first.clusters[1]?.api);
    expect(stable.stderr).not.toContain("is taken");
    expect(addressesIn(data)).toEqual(second);
  });
}, 120_000);

describe("a full or read-only disk", () => {
  const disk = mkdtempSync(join(tmpdir(), "argosy-disk-"));
  const data = join(disk, "data");
  const mount = (...words: string[]): boolean => spawnSync("mount", words).status === 0;
  let canMount = false;

  beforeAll(() => {
    canMount = process.getuid?.() === 0 && mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", disk);
  });

  afterAll(async () => {
    if (canMount) {
      mount("-o", "remount,rw,size=16m", disk);
      await argosy("down", "--data", data);
      spawnSync("umount", ["--lazy", disk]);
    }
    rmSync(disk, { recursive: true, force: true });
  }, 60_000);

  test("too little room to begin with: it ends and says why", async ({ skip }) => {
    skip(!canMount, "skipped, because only root can mount a small disk");
    const refused = await start(data).finished;

    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/error: .*(disk is full|no space left)/i);
    expect(refused.stderr).not.toContain("    at ");
  }, 60_000);

  test("it fills while it runs: writes are refused with the reason, reads go on, room brings writes back; nothing is lost", async ({
    skip,
  }) => {
    skip(!canMount, "skipped, because only root can mount a small disk");
    mount("-o", "remount,size=8m", disk);
    const running = await ready(start(data));
    const kept = [await write(data, "w-before")];
    const filler = fillUp(join(disk, "filler"));
    let refusal: unknown;
    for (let index = 0; refusal === undefined && index < 100; index += 1) {
      await write(data, `w-full-${index}`, 100_000).then(
        (name) => kept.push(name),
        (error: unknown) => {
          refusal = error;
        },
      );
    }
    const whileFull = await namesIn(data);
    const status = await argosy("status", "--data", data);
    rmSync(filler);
    kept.push(await write(data, "w-after"));
    await ended(running, "SIGKILL");
    const again = await ready(start(data));
    const names = await namesIn(data);
    await ended(again, "SIGTERM");

    expect(refusal).toBeInstanceOf(ApiError);
    expect((refusal as ApiError).status).toMatchObject({ code: 507, reason: "InsufficientStorage" });
    expect((refusal as ApiError).message).toMatch(/journal\/\d+\.log: the disk is full; free some space/);
    expect(whileFull.sort()).toEqual(kept.slice(0, -1).sort());
    expect(status.code, status.stderr).toBe(0);
    expect(names.sort()).toEqual(kept.sort());
  }, 120_000);

  test("read-only: it ends and says so; writable again, it goes on with everything", async ({ skip }) => {
    skip(!canMount, "skipped, because only root can mount a small disk");
    expect(mount("-o", "remount,ro", disk)).toBe(true);
    const refused = await start(data).finished;
    mount("-o", "remount,rw", disk);
    const again = await ready(start(data));
    const names = await namesIn(data);
    await ended(again, "SIGTERM");

    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/error: .*read-only/i);
    expect(refused.stderr).not.toContain("    at ");
    expect(names).toContain("w-after");
  }, 60_000);
});

/** Writes until nothing more fits. */
function fillUp(file: string): string {
  const descriptor = openSync(file, "w");
  try {
    for (const size of [65_536, 4096, 512]) {
      const piece = Buffer.alloc(size);
      try {
        while (writeSync(descriptor, piece) === size) {
          // Until the disk says no.
        }
      } catch {
        // Full for pieces of this size.
      }
    }
  } finally {
    closeSync(descriptor);
  }
  return file;
}

describe("damaged files", () => {
  const hubLog = (data: string): string => join(data, "clusters", "hub", "journal", "000000000001.log");

  /** End of what is written in a log: behind it is room made ahead, all zeros. */
  const endOf = (log: string): number => readFileSync(log).findLastIndex((byte) => byte !== 0) + 1;

  /** A data directory whose process was killed after acknowledged writes. */
  async function killedAfterWrites(data: string): Promise<string[]> {
    const running = await ready(start(data));
    const names: string[] = [];
    while (names.length < 10) names.push(await write(data, `w-${names.length}`));
    await ended(running, "SIGKILL");
    return names;
  }

  const garble = (file: string, offset: number): void => {
    const bytes = readFileSync(file);
    bytes.fill(0xa5, offset, offset + 64);
    writeFileSync(file, bytes);
  };

  test("a journal: torn at its tail it is read up to there; damaged before finished writes it is refused, with what to do", async () => {
    await withDataDirectory(async (data) => {
      const written = await killedAfterWrites(data);
      const log = hubLog(data);
      const whole = readFileSync(log);
      const end = endOf(log);

      garble(log, Math.floor(end / 2));
      const damaged = await start(data).finished;
      expect(damaged.code).toBe(1);
      expect(damaged.stderr).toMatch(/journal\/\d+\.log: damaged at byte \d+, and at least \d+ finished writes/);
      expect(damaged.stderr).toContain("truncate -s");
      expect(damaged.stderr).not.toContain("    at ");

      writeFileSync(log, whole.subarray(0, end - 20));
      const torn = await ready(start(data));
      const afterTear = await namesIn(data);
      expect(await write(data, "w-new")).toBe("w-new");
      await ended(torn, "SIGTERM");
      expect(written.filter((name) => !afterTear.includes(name)).length).toBeLessThanOrEqual(1);

      const bytes = readFileSync(log);
      bytes.write("something else", 0);
      writeFileSync(log, bytes);
      const foreign = await start(data).finished;
      expect(foreign.code).toBe(1);
      expect(foreign.stderr).toMatch(
        /error: .*clusters\/hub\/journal\/\d+\.log: not a journal.*restore it from a backup/i,
      );
    });
  }, 120_000);

  test("argosy.json: the message names it and the way on; moved away, everything is still there", async () => {
    await withDataDirectory(async (data) => {
      const written = await killedAfterWrites(data);
      const file = join(data, "argosy.json");
      for (const text of ["{", "[]", '{"version": 1, "members": [{}], "ports": {}}']) {
        writeFileSync(file, text);
        const refused = await start(data).finished;
        expect(refused.code).toBe(2);
        expect(refused.stderr).toMatch(/argosy\.json is damaged: .*move it away/);
      }
      renameSync(file, `${file}.damaged`);
      const again = await ready(start(data));
      const names = await namesIn(data);
      await ended(again, "SIGTERM");

      expect(names.sort()).toEqual(written.sort());
      expect(gatewayProcessOf(data)).toBeUndefined();
    });
  }, 120_000);
});
