import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { Agent, fetch, Pool } from "undici";
import { createClient, httpTransport, loadKubeconfig } from "../../src/kernel/client/index.js";
import type { ApiClient } from "../../src/kernel/client/types.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { within } from "./polling.js";

/** Where a fleet is, as its data directory says. */
export interface FleetAddresses {
  readonly ingress: string;
  readonly northbound: string;
  readonly artifacts: string;
  readonly clusters: readonly { readonly name: string; readonly api: string; readonly nodes: readonly string[] }[];
}

export function addressesIn(data: string): FleetAddresses {
  return JSON.parse(readFileSync(join(data, "addresses.json"), "utf8")) as FleetAddresses;
}

/** The main process of a data directory. */
export function mainProcessOf(data: string): number {
  return Number(readFileSync(join(data, "argosy.pid"), "utf8").split(" ")[0]);
}

/** The gateway's process, or `undefined` while there is none. */
export function gatewayProcessOf(data: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(data, "gateway", "gateway.pid"), "utf8")) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}

/** The administrator's token in one cluster. */
export async function tokenOf(data: string, context: string): Promise<string> {
  return (await loadKubeconfig(join(data, "kubeconfig"), context)).transport.token ?? "";
}

/** A client of one cluster with its administrator's rights. */
export async function clientOf(data: string, context: string): Promise<ApiClient> {
  const { transport } = await loadKubeconfig(join(data, "kubeconfig"), context);
  return createClient({ transport: httpTransport(transport), clock: systemClock, random: systemRandom });
}

/** Calls on the artifact store, with the store's own writing key. */
export function artifactCalls(data: string): {
  put(key: string, body: string): Promise<{ readonly ok: boolean; readonly text: string }>;
  get(key: string): Promise<{ readonly ok: boolean; readonly text: string }>;
  close(): Promise<void>;
} {
  const aws = new AwsClient({
    accessKeyId: "argosy-writer",
    secretAccessKey: readFileSync(join(data, "pki", "artifact-writer.key"), "utf8").trim(),
    service: "s3",
    region: "us-east-1",
  });
  const ca = readFileSync(join(data, "pki", "ca.crt"), "utf8");
  const dispatcher = new Agent({ connect: { ca }, headersTimeout: 20_000, bodyTimeout: 20_000 });
  const call = async (key: string, body?: string): Promise<{ readonly ok: boolean; readonly text: string }> => {
    const more = body === undefined ? { method: "GET" } : { method: "PUT", body };
    const signed = await aws.sign(`${addressesIn(data).artifacts}/artifacts/${key}`, more);
    const answer = await fetch(signed.url, { headers: Object.fromEntries(signed.headers), ...more, dispatcher });
    return { ok: answer.ok, text: await answer.text() };
  };
  return { put: (key, body) => call(key, body), get: (key) => call(key), close: () => dispatcher.close() };
}

/** Puts an object into the artifact store. */
export async function uploadArtifact(data: string, key: string, body: string): Promise<void> {
  const calls = artifactCalls(data);
  const { ok, text } = await calls.put(key, body);
  await calls.close();
  if (!ok) throw new Error(`the artifact store refused ${key}: ${text}`);
}

/** One answer of the digits model. */
export interface Prediction {
  readonly status: number;
  readonly member: string;
  /** When the request was sent, in ms of a monotonic clock. */
  readonly sentMs: number;
}

const body = JSON.stringify({
  inputs: [{ name: "input", datatype: "FP32", shape: [1, 64], data: Array.from({ length: 64 }, () => 0) }],
});

/** Asks the digits model through the head ingress, over and over, until `isEnough` says so, for 60 s at most; connection failures count as status 0. */
export async function askUntil(
  data: string,
  isEnough: (answers: readonly Prediction[]) => boolean,
): Promise<Prediction[]> {
  const pool = new Pool(addressesIn(data).ingress, {
    connections: 4,
    headersTimeout: 20_000,
    bodyTimeout: 20_000,
  });
  const answers: Prediction[] = [];
  let isOver = false;
  const worker = async (): Promise<void> => {
    while (!isOver && !isEnough(answers)) {
      const sentMs = systemClock.monotonicMs();
      try {
        const answer = await pool.request({
          method: "POST",
          path: "/t9k/hypermlservices/namespaces/digits/digits/v2/models/digits/infer",
          headers: { "content-type": "application/json" },
          body,
        });
        await answer.body.dump();
        answers.push({ status: answer.statusCode, member: String(answer.headers["x-argosy-backend"]), sentMs });
      } catch {
        answers.push({ status: 0, member: "", sentMs });
        await systemClock.sleep(10);
      }
    }
  };
  try {
    const seen = () => ({ count: answers.length, last: answers.slice(-5) });
    await within("enough answers of the model", Promise.all(Array.from({ length: 4 }, worker)), {
      boundMs: 60_000,
      seen,
    });
  } finally {
    isOver = true;
    await pool.destroy();
  }
  return answers;
}
