import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync } from "node:fs";
import { homedir, totalmem } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";

/** Programs that belong together: their module, which names the versions, and the packages they are built from. */
interface ProgramSet {
  /** Below `tests/real`. */
  readonly module: string;
  readonly packages: Readonly<Record<string, string>>;
}

/** The programs of a control plane. */
const planeSet: ProgramSet = {
  module: "stack",
  packages: {
    etcd: "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
  },
};

/** What a fleet of real clusters has besides: Karmada, and nodes. */
export const homeSet: ProgramSet = {
  module: "home/stack",
  packages: {
    "karmada-aggregated-apiserver": "github.com/karmada-io/karmada/cmd/aggregated-apiserver",
    "karmada-controller-manager": "github.com/karmada-io/karmada/cmd/controller-manager",
    "karmada-scheduler": "github.com/karmada-io/karmada/cmd/scheduler",
    "karmada-webhook": "github.com/karmada-io/karmada/cmd/webhook",
    kubelet: "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    pause: "./pause",
  },
};

/** What a node runs, without Karmada. */
export const nodeSet: ProgramSet = {
  module: homeSet.module,
  packages: Object.fromEntries(
    Object.entries(homeSet.packages).filter(([name]) => ["kubelet", "kube-proxy", "pause"].includes(name)),
  ),
};

/** Packaged tests are compiled elsewhere, so modules are found from the clone. */
const folderOf = ({ module }: ProgramSet): string => join(packageRoot(), "tests", "real", module);

const leastMemoryGib = 4;
/** Modules, compiled packages, programs. */
const leastDiskGib = 8;

/** Why the programs cannot be made here, through no fault of anybody's: no network, an old Go, a small machine. */
export class Unobtainable extends Error {}

/**
 * Builds what is not built yet, into a folder outside the clone that is named after the versions. Returns the folder. Throws
 * `Unobtainable` where the modules cannot be had, or the machine is too small.
 */
export async function buildStack(say: (line: string) => void, set = planeSet): Promise<string> {
  const { packages } = set;
  const moduleFolder = folderOf(set);
  const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const sums = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) sums.update(readFileSync(join(moduleFolder, file)));
  const folder = join(cache, "argosy", "realstack", sums.digest("hex").slice(0, 16));
  mkdirSync(folder, { recursive: true });
  dropPartial(folder);
  const missing = Object.entries(packages).filter(([name]) => !existsSync(join(folder, name)));
  if (missing.length === 0) return folder;
  requireRoom(cache);
  say("… get the modules");
  const fetched = await go(["list", "-deps", ...missing.map(([, path]) => path)], moduleFolder);
  if (fetched.code !== 0) throw new Unobtainable(`the modules cannot be had: ${lastLine(fetched.said)}`);
  for (const [name, path] of missing) {
    const partial = join(folder, `${name}.${process.pid}`);
    say(`… build ${name} (minutes, the first time)`);
    const beganMs = Date.now();
    const { code, said } = await go(
      ["build", "-trimpath", "-ldflags", linkerFlags(moduleFolder), "-o", partial, path],
      moduleFolder,
    );
    if (/signal: killed/.test(said)) throw new Unobtainable(`a compiler was killed while ${name} was built (memory?)`);
    if (code !== 0) throw new Error(`${name} cannot be built: ${said.slice(-2000)}`);
    renameSync(partial, join(folder, name));
    say(`✔ build ${name} (${Math.round((Date.now() - beganMs) / 1000)} s)`);
  }
  return folder;
}

/** A build that is going to fail is not begun: it takes many minutes. */
function requireRoom(cache: string): void {
  const gib = 1024 ** 3;
  const memory = Math.min(totalmem(), process.constrainedMemory() || totalmem()) / gib;
  if (memory < leastMemoryGib)
    throw new Unobtainable(`building takes ${leastMemoryGib} GiB of memory, and there are ${memory.toFixed(1)}`);
  const { bavail, bsize } = statfsSync(cache);
  const disk = (bavail * bsize) / gib;
  if (disk < leastDiskGib)
    throw new Unobtainable(`building takes ${leastDiskGib} GiB in ${cache}, and ${disk.toFixed(1)} are free`);
}

/** What a build left that was stopped. */
function dropPartial(folder: string): void {
  for (const file of readdirSync(folder)) {
    const pid = Number(/\.(\d+)$/.exec(file)?.[1] ?? 0);
    if (pid === 0) continue;
    try {
      process.kill(pid, 0);
    } catch {
      rmSync(join(folder, file), { force: true });
    }
  }
}

/** Programs built from modules do not know their own version, and components refuse to run as 0.0. */
function linkerFlags(moduleFolder: string): string {
  const version = /^\s*k8s\.io\/kubernetes (v1\.(\d+)\.\S+)/m.exec(readFileSync(join(moduleFolder, "go.mod"), "utf8"));
  const set = (name: string, value = ""): string => `-X k8s.io/component-base/version.${name}=${value}`;
  return ["-s -w", set("gitVersion", version?.[1]), set("gitMajor", "1"), set("gitMinor", version?.[2])].join(" ");
}

const lastLine = (text: string): string => text.trim().split("\n").at(-1)?.slice(0, 500) ?? "";

/** Runs Go. Two compilers at once keep below 4 GiB, whatever cores the machine has. */
function go(
  args: readonly string[],
  moduleFolder: string,
): Promise<{ readonly code: number | null; readonly said: string }> {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false -p=2" };
  const child = spawn("go", args, { cwd: moduleFolder, env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, said }));
  });
}
