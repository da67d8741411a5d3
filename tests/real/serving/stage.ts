import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, KubeObject } from "../../../src/kernel/kinds/object.js";
import { freePorts } from "../../../src/testing/ports.js";
import { Caller } from "../../support/load.js";
import { volumeOf, writeModels } from "../../support/numbered-models.js";
import { argosy, endGateway, program } from "../home/command.js";
import { apply, type Built } from "../home/karmada.js";
import { type Member, startMember } from "../home/member.js";
import { makeNetwork } from "../home/network.js";
import { Programs } from "../home/programs.js";

/** Where the models are. */
export const NAMESPACE = "models";

/** A real cluster of two nodes with Argosy's agent, which has the rights that it prints and no others. */
export interface Stage {
  readonly member: Member;
  readonly caller: Caller;
  readonly until: Programs["until"];
  close(): Promise<void>;
}

/** Starts everything; says what is there. */
export async function openStage(built: Built, say: (line: string) => void): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-serving-"));
  const network = makeNetwork();
  const ends: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of ends.reverse()) await end().catch((error: unknown) => say(`closing: ${String(error)}`));
    await network.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const member = await startMember("paris", built, network, 2);
    ends.push(() => member.close());
    say("✔ a real cluster, its two nodes Ready");
    const archive = join(folder, "argosy.tar");
    await argosy(["images", "argosy.dev/model-server", "--output", archive]);
    for (const node of member.nodes) node.importImages(archive);
    await furnish(member, join(folder, "models"));
    const programs = new Programs(folder);
    ends.push(() => endGateway(join(folder, "agent", "gateway")));
    ends.push(() => programs.close());
    const [ingress = 0] = await freePorts(1);
    const kubeconfig = join(folder, "agent.kubeconfig");
    await grant(member, kubeconfig);
    const words = ["agent", "--level", "cluster", "--kubeconfig", kubeconfig, "--cluster", "paris"];
    const place = ["--ingress", `127.0.0.1:${ingress}`, "--data", join(folder, "agent")];
    programs.start(process.execPath, [program, ...words, ...place], "agent");
    const isReady = async () => /^ready:/m.test(readFileSync(join(folder, "agent.log"), "utf8"));
    await programs.until("the agent is ready", isReady);
    const caller = new Caller(ingress);
    ends.push(async () => caller.close());
    say("✔ Argosy's images on the nodes, its agent beside them");
    return { member, caller, until: (...wait) => programs.until(...wait), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function furnish({ client }: Member, models: string): Promise<void> {
  mkdirSync(models);
  writeModels(models, 3);
  await apply(client, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  for (const object of volumeOf(models, NAMESPACE)) await apply(client, object);
}

/** Gives the agent the rights that it prints, and a kubeconfig of its account. */
async function grant({ stack, client }: Member, file: string): Promise<void> {
  const rights = await argosy(["agent", "rbac", "--level", "cluster"]);
  await argosy(["apply", "--kubeconfig", stack.kubeconfig, "-f", "-"], { input: rights });
  const path = "/api/v1/namespaces/argosy-system/serviceaccounts/argosy-cluster-agent/token";
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 7200 } };
  const { status } = (await client.json("POST", path, body)) as { status: { token: string } };
  const cluster = { server: stack.url, "certificate-authority-data": Buffer.from(stack.caPem).toString("base64") };
  const config = {
    "current-context": "it",
    clusters: [{ name: "it", cluster }],
    users: [{ name: "it", user: { token: status.token } }],
    contexts: [{ name: "it", context: { cluster: "it", user: "it" } }],
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
}

/** A condition as it was seen. */
export interface Seen {
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** An object with the parts that are looked at. */
export interface Found extends KubeObject {
  readonly spec?: JsonObject;
  readonly status?: JsonObject & {
    readonly url?: string;
    readonly observedGeneration?: number;
    readonly conditions?: (Seen & { readonly type: string })[];
  };
}

/** Path of the objects of a kind in the models' namespace. */
export const pathOf = (plural: string, group = "serving.kserve.io/v1beta1"): string =>
  `${group === "v1" ? "/api" : "/apis"}/${group}/namespaces/${NAMESPACE}/${plural}`;

/** One object; undefined: it is not there. */
export async function find({ member }: Stage, path: string): Promise<Found | undefined> {
  try {
    return (await member.client.json("GET", path)) as unknown as Found;
  } catch (error) {
    if ((error as { httpCode?: number }).httpCode === 404) return undefined;
    throw error;
  }
}

/** All objects of a kind in the models' namespace. */
export async function all({ member }: Stage, plural: string, group: string): Promise<readonly Found[]> {
  const { items } = (await member.client.json("GET", pathOf(plural, group))) as unknown as { items: Found[] };
  return items;
}

/** Changes an object by a merge patch. */
export async function change({ member }: Stage, path: string, patch: JsonObject): Promise<void> {
  await member.client.json("PATCH", path, patch, { headers: { "content-type": "application/merge-patch+json" } });
}

/** Waits for what an object says of itself; throws with what it said last. */
export async function says(
  stage: Stage,
  path: string,
  { type = "Ready", status = "True", reason = "" },
  seconds = 120,
): Promise<Seen> {
  let seen: Found | undefined;
  let found: Seen | undefined;
  const holds = async () => {
    seen = await find(stage, path);
    const isOfNow = seen?.status?.observedGeneration === seen?.metadata.generation;
    found = seen?.status?.conditions?.find((condition) => condition.type === type);
    return isOfNow && found?.status === status && (found.reason ?? "").includes(reason);
  };
  try {
    await stage.until(`${path} is ${type}: ${status} ${reason}`, holds, seconds);
  } catch (error) {
    throw new Error(`${JSON.stringify(seen?.status)}; ${String(error)}`);
  }
  if (found === undefined) throw new Error(`${path} has no condition ${type}`);
  return found;
}

/** What an object says of its readiness, with the times at which that changed. */
export class Diary {
  readonly words: (Seen & { readonly atMs: number })[] = [];
  #isOver = false;
  readonly #ended: Promise<void>;

  constructor(stage: Stage, path: string) {
    this.#ended = this.#watch(stage, path);
  }

  get last(): Seen | undefined {
    return this.words.at(-1);
  }

  async #watch(stage: Stage, path: string): Promise<void> {
    while (!this.#isOver) {
      const found = await find(stage, path).catch(() => undefined);
      const ready = found?.status?.conditions?.find(({ type }) => type === "Ready");
      const isNew = ready?.message !== this.last?.message || ready?.status !== this.last?.status;
      if (ready !== undefined && isNew) this.words.push({ ...ready, atMs: Date.now() });
      await sleep(100);
    }
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
  }
}
