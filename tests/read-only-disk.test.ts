import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Agent, request } from "undici";
import { expect, test } from "vitest";
import { ApiError } from "../src/kernel/errors/index.js";
import { ConfigMapKind } from "../src/kernel/kinds/index.js";
import { argosy, startArgosy } from "./support/argosy.js";
import { addressesIn, artifactCalls, clientOf, tokenOf } from "./support/fleet.js";
import { eventually } from "./support/polling.js";
import { fragileDisk } from "./support/read-only-disk.js";

/** What a user does with the three stores of a data directory; each resolves with what was answered, for reading and for writing. */
interface Faces {
  readonly write: Readonly<Record<"resources" | "records" | "artifacts", (name: string) => Promise<Answer>>>;
  readonly names: Readonly<Record<"resources" | "records" | "artifacts", () => Promise<string[]>>>;
  close(): Promise<void>;
}

interface Answer {
  readonly ok: boolean;
  readonly text: string;
}

async function facesOf(data: string): Promise<Faces> {
  const hub = await clientOf(data, "hub");
  const configMaps = hub.resource(ConfigMapKind);
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false }, headersTimeout: 20_000, bodyTimeout: 20_000 });
  const token = await tokenOf(data, "hub");
  const mlflow = async (path: string, body: object): Promise<Answer> => {
    const answer = await request(`${addressesIn(data).northbound}/api/2.0/mlflow/${path}`, {
      method: "POST",
      dispatcher,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { ok: answer.statusCode === 200, text: await answer.body.text() };
  };
  const artifacts = artifactCalls(data);
  return {
    write: {
      resources: async (name) => {
        try {
          const draft = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: {} };
          await configMaps.create(draft, { namespace: "default" });
          return { ok: true, text: "" };
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          return { ok: false, text: error.message };
        }
      },
      records: (name) => mlflow("experiments/create", { name }),
      artifacts: (name) => artifacts.put(`w/${name}`, "text"),
    },
    names: {
      resources: async () =>
        (await configMaps.list({ namespace: "default" })).items.map(({ metadata }) => metadata.name).filter(isOurs),
      records: async () => {
        const { text } = await mlflow("experiments/search", { max_results: 100 });
        return (JSON.parse(text) as { experiments: { name: string }[] }).experiments
          .map(({ name }) => name)
          .filter(isOurs);
      },
      artifacts: async () => {
        const found: string[] = [];
        for (const name of ["w-before", "w-during", "w-after"]) {
          if ((await artifacts.get(`w/${name}`)).ok) found.push(name);
        }
        return found;
      },
    },
    close: async () => {
      await hub.close();
      await dispatcher.close();
      await artifacts.close();
    },
  };
}

const isOurs = (name: string): boolean => name.startsWith("w-");
const stores = ["resources", "records", "artifacts"] as const;

test("a disk that turns read-only under a running fleet: writes are refused with the cause, reads go on, and it recovers by itself", async ({
  skip,
}) => {
  const disk = fragileDisk();
  if (typeof disk === "string") return skip(`skipped, because ${disk}`);
  mkdirSync(disk.folder);
  const data = join(disk.folder, "data");
  const up = () => startArgosy(["up", "--data", data, "--members", "edge"], disk.environment);
  try {
    const running = up();
    await running.says("\nready: ");
    const faces = await facesOf(data);
    for (const store of stores) expect(await faces.write[store]("w-before"), store).toMatchObject({ ok: true });

    disk.turn("read-only");
    for (const store of stores) {
      const refused = await faces.write[store]("w-during");
      expect(refused, store).toMatchObject({ ok: false });
      expect(refused.text, store).toMatch(/read-only/i);
      expect(await faces.names[store](), store).toEqual(["w-before"]);
    }
    const status = await argosy("status", "--data", data);
    expect(status.code, status.stderr).toBe(0);

    disk.turn("writable");
    for (const store of stores) {
      let seen: Answer | undefined;
      await eventually(
        `${store} can be written again`,
        async () => {
          seen = await faces.write[store]("w-after");
          return seen.ok ? true : undefined;
        },
        { seen: () => seen },
      );
    }
    await faces.close();
    running.child.kill("SIGKILL");
    await running.finished;

    const again = up();
    await again.says("\nready: ");
    const kept = await facesOf(data);
    for (const store of stores) expect((await kept.names[store]()).sort(), store).toEqual(["w-after", "w-before"]);
    await kept.close();
  } finally {
    disk.turn("writable");
    await argosy("down", "--data", data);
    disk.remove();
  }
}, 240_000);
