import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";

/** The programs of a control plane, and the packages they are built from (versions: `stack/go.mod`). */
const packages = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
} as const;

/** The module that names the versions; packaged tests are compiled elsewhere, so it is found from the clone. */
const moduleFolder = join(packageRoot(), "tests", "real", "stack");

/** Builds what is not built yet, into a folder outside the clone that is named after the versions. Returns the folder. */
export async function buildStack(say: (line: string) => void): Promise<string> {
  const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const sums = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) sums.update(readFileSync(join(moduleFolder, file)));
  const folder = join(cache, "argosy", "realstack", sums.digest("hex").slice(0, 16));
  mkdirSync(folder, { recursive: true });
  for (const [name, path] of Object.entries(packages)) {
    const target = join(folder, name);
    if (existsSync(target)) continue;
    say(`… build ${name} (minutes, the first time)`);
    await go(["build", "-trimpath", "-ldflags", linkerFlags(), "-o", `${target}.${process.pid}`, path]);
    renameSync(`${target}.${process.pid}`, target);
    say(`✔ build ${name}`);
  }
  return folder;
}

/** Programs built from modules do not know their own version, and components refuse to run as 0.0. */
function linkerFlags(): string {
  const version = /^\s*k8s\.io\/kubernetes (v1\.(\d+)\.\S+)/m.exec(readFileSync(join(moduleFolder, "go.mod"), "utf8"));
  const set = (name: string, value = ""): string => `-X k8s.io/component-base/version.${name}=${value}`;
  return ["-s -w", set("gitVersion", version?.[1]), set("gitMajor", "1"), set("gitMinor", version?.[2])].join(" ");
}

function go(args: readonly string[]): Promise<void> {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false" };
  const child = spawn("go", args, { cwd: moduleFolder, env, stdio: ["ignore", "ignore", "inherit"] });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`go ${args[0]} ended with ${code}`));
    });
  });
}
