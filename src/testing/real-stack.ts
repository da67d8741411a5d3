import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { UnavailableError } from "../kernel/client/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { type Authority, createAuthority, randomToken } from "../kernel/identity/index.js";
import { freePorts } from "./ports.js";

/** Who may come in with which token. */
export interface StackToken {
  readonly token: string;
  readonly user: { readonly username: string; readonly groups: readonly string[] };
}

/** A real control plane on loopback, without nodes. */
export interface RealStack {
  readonly url: string;
  readonly caPem: string;
  /** Of a member of system:masters. */
  readonly token: string;
  /** A file for an administrator. */
  readonly kubeconfig: string;
  /** Who signs this cluster's certificates. */
  readonly authority: Authority;
  /** Of its keys and logs. */
  readonly folder: string;
  /** Its etcd. */
  readonly store: string;
  /** Its processes. */
  pids(): readonly number[];
  close(): Promise<void>;
}

const serviceCidr = "10.96.0.0/16";

/** How a control plane differs from the usual one. */
export interface StackOptions {
  /** Who may come in besides the administrator. */
  readonly tokens?: readonly StackToken[];
  /** Features that are off in this version unless asked for; default: none. */
  readonly features?: readonly string[];
  /** Other servers answer a part of its API (APIService), and nodes are spoken to; default: neither. */
  readonly isWhole?: boolean;
  /** More flags of kube-apiserver. */
  readonly flags?: Readonly<Record<string, string>>;
  /** What it acknowledges is on the disk, as where it is used in earnest; default: no. */
  readonly isDurable?: boolean;
}

/** Starts etcd and kube-apiserver from a folder of programs; resolves when the API is ready (some 4 s). Throws when it does not get so. */
export async function startStack(programs: string, options: StackOptions = {}): Promise<RealStack> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-real-"));
  folders.add(folder);
  const stack = new Stack(programs, folder, options);
  try {
    await stack.start();
    return stack;
  } catch (error) {
    await stack.close();
    throw error;
  }
}

/** A test run that ends in a hurry leaves nothing behind. */
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  // They may write for another moment.
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

class Stack implements RealStack {
  readonly token = randomToken();
  readonly #programs: string;
  readonly folder: string;
  readonly #options: StackOptions;
  readonly #children: ChildProcess[] = [];
  #authority: Authority | undefined;
  #port = 0;
  store = "";

  constructor(programs: string, folder: string, options: StackOptions) {
    this.#programs = programs;
    this.folder = folder;
    this.#options = options;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get caPem(): string {
    return this.#authority?.caPem ?? "";
  }

  get kubeconfig(): string {
    return this.#file("kubeconfig");
  }

  get authority(): Authority {
    if (this.#authority === undefined) throw new UnavailableError("the control plane is not up");
    return this.#authority;
  }

  pids(): readonly number[] {
    return this.#children.flatMap(({ pid }) => pid ?? []);
  }

  #file(name: string): string {
    return join(this.folder, name);
  }

  async start(): Promise<void> {
    this.#authority = await createAuthority({ clock: systemClock, name: "real" });
    const [api, client, peer] = await freePorts(3);
    this.#port = api ?? 0;
    await this.#writeKeys(this.#authority);
    writeFileSync(this.kubeconfig, this.#kubeconfigOf({ token: this.token }), { mode: 0o600 });
    const etcd = `http://127.0.0.1:${client}`;
    this.store = etcd;
    const peers = `http://127.0.0.1:${peer}`;
    this.#spawn("etcd", {
      "data-dir": this.#file("etcd"),
      "listen-client-urls": etcd,
      "advertise-client-urls": etcd,
      "listen-peer-urls": peers,
      "initial-advertise-peer-urls": peers,
      "initial-cluster": `default=${peers}`,
      ...(this.#options.isDurable === true ? { "quota-backend-bytes": "8589934592" } : { "unsafe-no-fsync": "true" }),
    });
    this.#spawn("kube-apiserver", this.#apiFlags(etcd));
    await this.#ready();
  }

  #apiFlags(etcd: string): Record<string, string> {
    const { features = [] } = this.#options;
    return {
      ...(features.length === 0 ? {} : { "feature-gates": features.map((name) => `${name}=true`).join(",") }),
      "bind-address": "127.0.0.1",
      "advertise-address": "127.0.0.1",
      "secure-port": String(this.#port),
      "etcd-servers": etcd,
      "tls-cert-file": this.#file("api.crt"),
      "tls-private-key-file": this.#file("api.key"),
      "client-ca-file": this.#file("ca.crt"),
      "token-auth-file": this.#file("tokens.csv"),
      "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
      "service-account-key-file": this.#file("sa.pub"),
      "service-account-signing-key-file": this.#file("sa.key"),
      "authorization-mode": "Node,RBAC",
      "allow-privileged": "true",
      "service-cluster-ip-range": serviceCidr,
      "cert-dir": this.folder,
      // The lock-step runs send thousands of requests; shedding some would be a difference that is none.
      "enable-priority-and-fairness": "false",
      profiling: "false",
      ...(this.#options.isWhole === true ? this.#wholeFlags() : {}),
      ...this.#options.flags,
    };
  }

  #wholeFlags(): Record<string, string> {
    return {
      "requestheader-client-ca-file": this.#file("ca.crt"),
      "requestheader-allowed-names": "front-proxy-client",
      "requestheader-username-headers": "X-Remote-User",
      "requestheader-group-headers": "X-Remote-Group",
      "requestheader-extra-headers-prefix": "X-Remote-Extra-",
      "proxy-client-cert-file": this.#file("front-proxy.crt"),
      "proxy-client-key-file": this.#file("front-proxy.key"),
      "kubelet-client-certificate": this.#file("to-nodes.crt"),
      "kubelet-client-key": this.#file("to-nodes.key"),
      "kubelet-certificate-authority": this.#file("ca.crt"),
    };
  }

  async #writeKeys(authority: Authority): Promise<void> {
    const write = (name: string, text: string): void => writeFileSync(this.#file(name), text, { mode: 0o600 });
    const names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1"];
    const server = await authority.issueServer(names, { commonName: "kube-apiserver" });
    const clients = { "front-proxy": "front-proxy-client", "to-nodes": "kube-apiserver-kubelet-client" };
    for (const [file, user] of Object.entries(clients)) {
      const issued = await authority.issueClient(user, user === "front-proxy-client" ? [] : ["system:masters"]);
      write(`${file}.crt`, issued.certPem);
      write(`${file}.key`, issued.keyPem);
    }
    const account = generateKeyPairSync("rsa", { modulusLength: 2048 });
    write("ca.crt", authority.caPem);
    write("api.crt", server.certPem);
    write("api.key", server.keyPem);
    write("sa.key", String(account.privateKey.export({ type: "pkcs1", format: "pem" })));
    write("sa.pub", String(account.publicKey.export({ type: "spki", format: "pem" })));
    const admin = { token: this.token, user: { username: "fuzzer", groups: ["system:masters"] } };
    const lines = [admin, ...(this.#options.tokens ?? [])].map(
      ({ token, user }) => `${token},${user.username},${user.username},"${user.groups.join(",")}"\n`,
    );
    write("tokens.csv", lines.join(""));
  }

  #kubeconfigOf(user: Record<string, string>): string {
    const cluster = { server: this.url, "certificate-authority-data": Buffer.from(this.caPem).toString("base64") };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "real", cluster }],
      users: [{ name: "admin", user }],
      contexts: [{ name: "real", context: { cluster: "real", user: "admin" } }],
      "current-context": "real",
    });
  }

  #spawn(program: string, flags: Record<string, string>): void {
    const log = openSync(this.#file(`${program}.log`), "a");
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const child = spawn(join(this.#programs, program), args, { stdio: ["ignore", log, log] });
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.#children.push(child);
    closeSync(log);
  }

  async #ready(): Promise<void> {
    const dispatcher = new Agent({ connect: { ca: this.caPem } });
    const headers = { authorization: `Bearer ${this.token}` };
    for (let attempt = 0; attempt < 300; attempt += 1) {
      const dead = this.#children.find((child) => child.exitCode !== null);
      if (dead !== undefined) throw new UnavailableError(`${dead.spawnfile} ended: ${this.#lastWords()}`);
      const answer = await request(`${this.url}/readyz`, { dispatcher, headers }).catch(() => undefined);
      if (answer?.statusCode === 200) break;
      await systemClock.sleep(200);
      if (attempt === 299) throw new UnavailableError(`kube-apiserver does not get ready: ${this.#lastWords()}`);
    }
    await dispatcher.close();
  }

  #lastWords(): string {
    return ["etcd", "kube-apiserver"]
      .map((name) => readFileSync(this.#file(`${name}.log`), "utf8").slice(-800))
      .join("\n");
  }

  /** The API server first, while its store still answers. */
  async close(): Promise<void> {
    for (const child of this.#children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await Promise.race([ended, systemClock.sleep(3000)]);
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }
}
