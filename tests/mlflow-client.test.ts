import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { createRouteServer } from "../src/faces/northbound/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { createAuthority } from "../src/kernel/identity/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { createTrackingModule } from "../src/modules/tracking/index.js";
import { openDirectoryBlobs } from "../src/stores/blobs/index.js";
import { openSqliteRecords } from "../src/stores/records/index.js";
import { unless } from "../src/testing/unless.js";

/** A Python with MLflow's client: set ARGOSY_TEST_PYTHON to one (`python3 -m venv v && v/bin/pip install mlflow-skinny`). */
const python = process.env["ARGOSY_TEST_PYTHON"] ?? "python3";
const probe = spawnSync(python, [
  "-c",
  "import importlib.util, sys; sys.exit(importlib.util.find_spec('mlflow') is None)",
]);
const missing = probe.status === 0 ? undefined : `${python} has no mlflow`;

unless(missing)(
  "MLflow's own client logs, registers, searches and downloads",
  async () => {
    const directory = await mkdtemp(path.join(tmpdir(), "argosy-mlflow-"));
    const authority = await createAuthority({ clock: systemClock, name: "test" });
    const caFile = path.join(directory, "ca.pem");
    await writeFile(caFile, authority.caPem);
    const records = openSqliteRecords({ file: path.join(directory, "records.db"), clock: systemClock });
    const blobs = await openDirectoryBlobs({ directory: path.join(directory, "artifacts"), random: systemRandom });
    const tracking = await createTrackingModule({ records, blobs, clock: systemClock, random: systemRandom });
    const tokens: string[] = [];
    const server = createRouteServer({
      routes: tracking.routes ?? [],
      authority: {
        authenticate: async (token) => {
          tokens.push(token);
          return token === "sesame" ? { username: "ada", groups: [] } : undefined;
        },
        authorize: async () => ({ allowed: true, reason: "" }),
      },
      ...(await authority.issueServer(["127.0.0.1"])),
      port: 0,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    const { url } = await server.start();
    try {
      const { stdout } = await promisify(execFile)(
        python,
        [path.join(import.meta.dirname, "support", "mlflow_client.py"), url],
        {
          cwd: directory,
          env: {
            ...process.env,
            TMPDIR: directory,
            MLFLOW_TRACKING_TOKEN: "sesame",
            MLFLOW_TRACKING_SERVER_CERT_PATH: caFile,
            MLFLOW_HTTP_REQUEST_MAX_RETRIES: "0",
            MLFLOW_DISABLE_TELEMETRY: "true",
            MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT: "true",
          },
        },
      );

      expect(JSON.parse(stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({
        params: { lr: "0.1", layers: "3" },
        metrics: { accuracy: 0.95 },
        status: "FINISHED",
        history: 20,
        artifacts: ["model", "notes été.csv"],
        weights: 1_000_000,
        found: ["first"],
        missed: 0,
        champion: "1",
        models: ["digits"],
        served: expect.arrayContaining(["MLmodel", "weights"]),
        refused: "INVALID_PARAMETER_VALUE",
        after: "deleted",
      });
      expect(new Set(tokens)).toEqual(new Set(["sesame"]));
    } finally {
      await server.close();
      await records.close();
      await rm(directory, { recursive: true, force: true });
    }
  },
  120_000,
);
