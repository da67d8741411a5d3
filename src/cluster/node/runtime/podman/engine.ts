import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readdirSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { basename, join } from "node:path";
import type { Clock } from "../../../../kernel/clock/index.js";
import { formatMark, markOf, parseMark } from "../../../../kernel/files/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import type { Logger } from "../../../../kernel/log/index.js";
import { findProgram, plainEnvironment, runCommand } from "../../commands.js";
import { NodeError, shellQuote } from "../../errors.js";
import { removeGroupTree } from "../../isolation/cgroup.js";
import { mountPoints } from "../mount-table.js";
import { usualCapabilities } from "../privileges.js";
import { signalProcess } from "../processes.js";
import { answers, ask, isGone, openStream } from "./api.js";
import type { PodmanPrograms } from "./programs.js";

export interface PodmanEngineOptions {
  /** The platform's data directory: podman's own files lie in it, apart from those of the machine's podman. */
  readonly dataDir: string;
  readonly programs: PodmanPrograms;
  readonly clock: Clock;
  readonly log: Logger;
}

const idleSeconds = 60;
const upTimeoutMs = 20_000;
const upPollMs = 20;
/** Beside a service's socket: which process it is. */
const markSuffix = ".process";

/**
 * podman's service on a socket, for all nodes of a data directory. It is started when something is asked of it and ends by itself when
 * nothing is: containers need it not.
 */
export class PodmanEngine {
  readonly programs: PodmanPrograms;
  /** Below which containers have their control groups. */
  readonly cgroupParent: string;
  readonly #options: PodmanEngineOptions;
  readonly #folder: string;
  readonly #runFolder: string;
  #service: { readonly child: ChildProcess; readonly socket: string } | undefined;
  #starting: Promise<string> | undefined;
  #count = 0;

  constructor(options: PodmanEngineOptions) {
    const hash = createHash("sha256").update(options.dataDir).digest("hex").slice(0, 8);
    this.#options = options;
    this.programs = options.programs;
    this.cgroupParent = `argosy-podman-${hash}`;
    this.#folder = join(options.dataDir, "podman");
    // Short, for sockets; gone after a restart of the machine, which podman has to see.
    this.#runFolder = `/run/argosy-podman-${hash}`;
  }

  /** Where a file with its exit code appears when a container has ended. */
  get exits(): string {
    return join(this.#runFolder, "tmp", "exits");
  }

  /** What a container with an image's root has written there (`upper`), and the image's root with it (`merge`). */
  rootOf(id: string, part: "upper" | "merge"): string {
    return join(this.#folder, "run", "overlay-containers", id, "rootfs", part);
  }

  /** How podman describes a container to the program that runs it. */
  configOf(id: string): string {
    return join(this.#folder, "storage", "overlay-containers", id, "userdata", "config.json");
  }

  /** Writes podman's settings. */
  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await mkdir(this.exits, { recursive: true, mode: 0o700 });
    await this.#endPredecessors();
    await writeFile(this.#path("conmon"), this.#conmonScript(), { mode: 0o755 });
    await writeFile(this.#path("containers.conf"), this.#containersConf());
    await writeFile(this.#path("storage.conf"), this.#storageConf());
    await writeFile(this.#path("registries.conf"), "unqualified-search-registries = []\n");
  }

  /** Asks podman's API; `undefined` when there is no such thing. Throws a `NodeError` with podman's words. */
  async ask(method: string, path: string, body?: Json): Promise<JsonObject | undefined> {
    return this.#withService((socket) => ask(socket, { method, path, body }));
  }

  /** A connection to a container's own input, in podman's way. */
  async stream(path: string): Promise<Socket> {
    return this.#withService((socket) => openStream(socket, path));
  }

  /** Ends the service. Without `keepPods`, when all containers are gone, takes everything away that is not in the pods' folders. */
  async close(options: { readonly keepPods: boolean }): Promise<void> {
    await this.#starting?.catch(() => undefined);
    await this.#endService();
    if (options.keepPods) return;
    const umount = findProgram("umount");
    for (const point of mountPoints()
      .filter((each) => each.startsWith(`${this.#folder}/`))
      .reverse()) {
      if (umount !== undefined) await runCommand(umount, ["-l", point]);
    }
    removeGroupTree(this.cgroupParent);
    for (const folder of [this.#runFolder, this.#folder]) await rm(folder, { recursive: true, force: true });
  }

  /** Services of a process that was killed: idle, they would end after a while, and write into the folder then. */
  async #endPredecessors(): Promise<void> {
    for (const name of readdirSync(this.#runFolder)) {
      const path = join(this.#runFolder, name);
      const mark = name.endsWith(markSuffix) ? parseMark(await readFile(path, "utf8")) : undefined;
      if (mark !== undefined) signalProcess(mark, "SIGKILL");
      if (mark !== undefined || name.endsWith(".sock")) await rm(path, { force: true });
    }
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  async #withService<T>(work: (socket: string) => Promise<T>): Promise<T> {
    const socket = await this.#up();
    try {
      return await work(socket);
    } catch (error) {
      // It may have been about to end for want of work; the next one may be there by now, and others speak to it.
      if (!isGone(error)) throw error;
      if (this.#service?.socket === socket) await this.#endService();
      return work(await this.#up());
    }
  }

  #up(): Promise<string> {
    const { child, socket } = this.#service ?? {};
    if (socket !== undefined && child?.exitCode === null && child.signalCode === null) return Promise.resolve(socket);
    this.#starting ??= this.#startService().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #startService(): Promise<string> {
    const { programs, clock } = this.#options;
    this.#count += 1;
    // A name of its own: a service removes its socket when it ends, however late.
    const socket = join(this.#runFolder, `${process.pid}-${this.#count}.sock`);
    const output = openSync(this.#path("service.log"), "w", 0o600);
    const child = spawn(programs.podman, ["system", "service", `--time=${idleSeconds}`, `unix://${socket}`], {
      cwd: "/",
      // Signals of a terminal are not meant for it.
      detached: true,
      env: {
        ...plainEnvironment,
        HOME: this.#folder,
        CONTAINERS_CONF: this.#path("containers.conf"),
        CONTAINERS_STORAGE_CONF: this.#path("storage.conf"),
        CONTAINERS_REGISTRIES_CONF: this.#path("registries.conf"),
      },
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    child.on("error", () => undefined);
    const mark = markOf(child.pid ?? 0);
    if (mark !== undefined) await writeFile(`${socket}${markSuffix}`, formatMark(mark));
    for (const end = clock.monotonicMs() + upTimeoutMs; ; ) {
      if (existsSync(socket) && (await answers(socket))) break;
      if (child.pid === undefined || child.exitCode !== null || clock.monotonicMs() > end) {
        child.kill("SIGKILL");
        throw new NodeError("PodmanFailed", `podman's service does not start; see ${this.#path("service.log")}`);
      }
      await clock.sleep(upPollMs);
    }
    child.unref();
    this.#service = { child, socket };
    return socket;
  }

  async #endService(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    if (service === undefined || service.child.exitCode !== null || service.child.signalCode !== null) return;
    const ended = new Promise((resolve) => service.child.once("exit", resolve));
    service.child.kill("SIGTERM");
    await ended;
    for (const path of [service.socket, `${service.socket}${markSuffix}`]) await rm(path, { force: true });
  }

  /**
   * conmon with other switches than podman's: an input may stay open when a client goes, and podman is not started at each end of a
   * container to tidy up, which the runtime does.
   */
  #conmonScript(): string {
    const conmon = shellQuote(this.programs.conmon);
    return `#!/bin/sh
open=
left=$#
while [ $left -gt 0 ]; do
  word=$1; shift; left=$((left - 1))
  case $word in
    --exit-command | --exit-command-arg) shift; left=$((left - 1)) ;;
    *${openInputSuffix}) open=--leave-stdin-open; set -- "$@" "$word" ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec ${conmon} $open "$@"
`;
  }

  #containersConf(): string {
    const text = (value: string): string => JSON.stringify(value);
    return [
      "[containers]",
      "env = []",
      "http_proxy = false",
      `default_capabilities = [${usualCapabilities.map((name) => text(name.toUpperCase())).join(", ")}]`,
      "[engine]",
      'cgroup_manager = "cgroupfs"',
      'events_logger = "none"',
      'lock_type = "file"',
      // By its usual name: podman knows by it what the program can.
      `runtime = ${text(basename(this.programs.runtime))}`,
      `conmon_path = [${text(this.#path("conmon"))}]`,
      `tmp_dir = ${text(join(this.#runFolder, "tmp"))}`,
      `static_dir = ${text(this.#path("libpod"))}`,
      `volume_path = ${text(this.#path("volumes"))}`,
      "[engine.runtimes]",
      `${basename(this.programs.runtime)} = [${text(this.programs.runtime)}]`,
      "[network]",
      `network_config_dir = ${text(this.#path("networks"))}`,
      "",
    ].join("\n");
  }

  #storageConf(): string {
    const [graph, run] = [this.#path("storage"), this.#path("run")].map((path) => JSON.stringify(path));
    return `[storage]\ndriver = "overlay"\ngraphroot = ${graph}\nrunroot = ${run}\n`;
  }
}

/** Ends the name of a container whose input stays open when a client goes. */
export const openInputSuffix = ".stdin";
