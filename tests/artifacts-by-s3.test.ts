import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Agent, request } from "undici";
import { expect, test } from "vitest";
import { fetchModel } from "../src/dataplane/modelserver/index.js";
import { createRouteServer } from "../src/faces/northbound/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { createAuthority } from "../src/kernel/identity/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { createTrackingModule } from "../src/modules/tracking/index.js";
import { createS3Server, openDirectoryBlobs } from "../src/stores/blobs/index.js";
import { openSqliteRecords } from "../src/stores/records/index.js";

/** Tracking and the artifact store over one folder, as the platform puts them together. */
async function startStores(directory: string) {
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const common = {
    ...(await authority.issueServer(["127.0.0.1"])),
    port: 0,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  };
  const records = openSqliteRecords({ file: path.join(directory, "records.db"), clock: systemClock });
  const blobs = await openDirectoryBlobs({ directory: path.join(directory, "artifacts"), random: systemRandom });
  const tracking = await createTrackingModule({ records, blobs, clock: systemClock, random: systemRandom });
  const northbound = createRouteServer({
    ...common,
    routes: tracking.routes ?? [],
    authority: {
      authenticate: async () => ({ username: "trainer", groups: [] }),
      authorize: async () => ({ allowed: true, reason: "" }),
    },
  });
  const s3 = createS3Server({
    ...common,
    buckets: { artifacts: blobs },
    credentials: [
      {
        accessKeyId: "reader",
        secretAccessKey: "s3cret",
        grants: [{ bucket: "artifacts", prefix: "", access: "read" }],
      },
    ],
  });
  return {
    caPem: authority.caPem,
    tracking: (await northbound.start()).url,
    s3: (await s3.start()).url,
    close: async () => {
      await northbound.close();
      await s3.close();
      await records.close();
    },
  };
}

test("what a run logged through tracking, the model server fetches from the artifact store by its S3 address, and by the registry's name for it", async () => {
  const directory = await mkdtemp(path.join(tmpdir(), "argosy-artifacts-"));
  const stores = await startStores(directory);
  const dispatcher = new Agent({ connect: { ca: stores.caPem } });
  const send = async (
    method: "POST" | "PUT",
    target: string,
    body: string | Uint8Array,
    type: string,
  ): Promise<string> => {
    const headers = { authorization: "Bearer any", "content-type": type };
    const response = await request(`${stores.tracking}${target}`, { method, body, headers, dispatcher });
    expect(response.statusCode).toBe(200);
    return response.body.text();
  };
  const created = await send("POST", "/api/2.0/mlflow/runs/create", '{"experiment_id": "0"}', "application/json");
  const artifactUri = String(JSON.parse(created).run.info.artifact_uri);
  const key = artifactUri.replace("mlflow-artifacts:/", "");
  const weights = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 7919) % 251));
  await send("PUT", `/api/2.0/mlflow-artifacts/artifacts/${key}/model/model.onnx`, weights, "application/octet-stream");
  await send("PUT", `/api/2.0/mlflow-artifacts/artifacts/${key}/model/labels%20%C3%A9%2B.txt`, "0,1", "text/plain");
  const storageConfig = path.join(directory, ".s3cfg");
  const host = new URL(stores.s3).host;
  const ca = stores.caPem.trim().replaceAll("\n", "\\n");
  await writeFile(
    storageConfig,
    `[default]\naccess_key = reader\nsecret_key = s3cret\nhost_base = ${host}\nuse_https = True\nca_certs = ${ca}\n`,
  );

  const destination = path.join(directory, "model");
  await fetchModel({
    uri: `s3://artifacts/${key}/model/`,
    storageConfig,
    destination,
    cache: path.join(directory, "cache"),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    partBytes: 1_000_000,
  });

  expect((await readFile(path.join(destination, "model.onnx"))).equals(weights)).toBe(true);
  expect(await readFile(path.join(destination, "labels é+.txt"), "utf8")).toBe("0,1");

  const json = (target: string, body: object) =>
    send("POST", `/api/2.0/mlflow/${target}`, JSON.stringify(body), "application/json");
  const { run_id: runId } = JSON.parse(created).run.info;
  await json("registered-models/create", { name: "digits" });
  await json("model-versions/create", { name: "digits", source: `${artifactUri}/model`, run_id: runId });
  await json("registered-models/alias", { name: "digits", alias: "champion", version: "1" });
  const caFile = path.join(directory, "ca.crt");
  await writeFile(caFile, stores.caPem);
  for (const uri of ["models:/digits@champion", "models:/digits/1"]) {
    const registered = path.join(directory, encodeURIComponent(uri));
    await fetchModel({
      uri,
      env: {
        MLFLOW_TRACKING_URI: stores.tracking,
        MLFLOW_TRACKING_TOKEN: "any",
        MLFLOW_TRACKING_SERVER_CERT_PATH: caFile,
      },
      destination: registered,
      cache: path.join(directory, "cache"),
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    expect((await readFile(path.join(registered, "model.onnx"))).equals(weights)).toBe(true);
    expect(await readFile(path.join(registered, "labels é+.txt"), "utf8")).toBe("0,1");
  }
  await dispatcher.close();
  await stores.close();
  await rm(directory, { recursive: true, force: true });
});
