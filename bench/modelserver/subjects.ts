/** The servers that are measured, and how each is had and started. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Form, MODEL } from "./workload.js";

/** Name of a server in the results. */
export type SubjectName = "argosy" | "fastapi" | "kserve" | "mlserver";

/** A server that can be started. */
export interface Subject {
  readonly name: SubjectName;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where it takes each form; what it does not offer is absent. */
  readonly ports: Readonly<Partial<Record<Form, number>>>;
}

/** Where the model is. */
export interface Files {
  readonly folder: string;
  readonly model: string;
}

const sources = fileURLToPath(new URL("../../../bench/modelserver/peers/", import.meta.url));
const main = fileURLToPath(new URL("../../programs/model-server.js", import.meta.url));

/** Argosy's model server, with a port for each kind of client. */
export function argosy({ folder }: Files, more: readonly string[] = []): Subject {
  const args = [main, "--model-name", MODEL, "--model-dir", join(folder, "served"), "--http", "18501", ...more];
  return {
    name: "argosy",
    command: process.execPath,
    args,
    env: {},
    ports: { json: 18_501, binary: 18_501, grpc: 18_501 },
  };
}

/** A peer, or why it cannot be measured. */
export function peer(name: Exclude<SubjectName, "argosy">, files: Files): Subject | { skipped: string } {
  const packages = obtain(name);
  if (typeof packages !== "string") return packages;
  const env = { PYTHONPATH: `${packages}:${sources}`, PYTHONDONTWRITEBYTECODE: "1" };
  const run = (args: readonly string[], ports: Subject["ports"]): Subject => ({
    name,
    command: "python3",
    args,
    env,
    ports,
  });
  switch (name) {
    case "fastapi":
      return run([join(sources, "fastapi_server.py"), files.model, "18502"], { json: 18_502, binary: 18_502 });
    case "kserve":
      return run([join(sources, "kserve_server.py"), files.model, "18503", "18504"], {
        ...{ json: 18_503, binary: 18_503, grpc: 18_504 },
      });
    default:
      return run(["-c", "from mlserver.cli import main; main()", "start", mlserverFolder(files)], {
        json: 18_505,
        grpc: 18_506,
      });
  }
}

/** MLServer in one process, as it is cheapest for a small model; nothing is logged for a request. */
function mlserverFolder({ folder, model }: Files): string {
  const place = join(folder, "mlserver");
  mkdirSync(place, { recursive: true });
  const settings = {
    host: "127.0.0.1",
    http_port: 18_505,
    grpc_port: 18_506,
    metrics_port: 18_507,
    parallel_workers: 0,
  };
  writeFileSync(join(place, "settings.json"), JSON.stringify({ ...settings, debug: false }));
  const declared = { name: MODEL, implementation: "mlserver_model.Network", parameters: { uri: model } };
  writeFileSync(join(place, "model-settings.json"), JSON.stringify(declared));
  return place;
}

/** The folder of a peer's packages, installed outside the clone, in a folder named after what is in it. */
function obtain(name: string): string | { skipped: string } {
  const file = join(sources, `requirements-${name}.txt`);
  const sum = createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 16);
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "argosy", "bench");
  const folder = join(cache, `${name}-${sum}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(join(cache, `.${name}-`));
  const args = ["-m", "pip", "install", "-q", "--retries", "1", "--target", partial, "-r", file];
  const made = spawnSync("python3", args, { encoding: "utf8", timeout: 600_000 });
  if (made.status !== 0) {
    rmSync(partial, { recursive: true, force: true });
    return { skipped: made.error?.message ?? `its packages could not be installed: ${made.stderr.trim().slice(-300)}` };
  }
  renameSync(partial, folder);
  return folder;
}
