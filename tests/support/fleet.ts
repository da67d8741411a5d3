import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { Agent, fetch, Pool } from "undici";
import { createClient, httpTransport, loadKubeconfig } from "../../src/kernel/client/index.js";
import type { ApiClient } from "../../src/kernel/client/types.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";

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

/** Puts an object into the artifact store, with the store's own writing key. */
export async function uploadArtifact(data: string, key: string, body: string): Promise<void> {
  const aws = new AwsClient({
    accessKeyId: "argosy-writer",
    secretAccessKey: readFileSync(join(data, "pki", "artifact-writer.key"), "utf8").trim(),
    service: "s3",
    region: "us-east-1",
  });
  const signed = await aws.sign(`${addressesIn(data).artifacts}/artifacts/${key}`, { method: "PUT", body });
  const dispatcher = new Agent({ connect: { ca: readFileSync(join(data, "pki", "ca.crt"), "utf8") } });
  const answer = await fetch(signed.url, {
    method: "PUT",
    headers: Object.fromEntries(signed.headers),
    body,
    dispatcher,
  });
  if (!answer.ok) {
    throw new Error(`the artifact store answered ${answer.status}: ${await answer.text()}`);
  }
  await dispatcher.close();
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

/** Asks the digits model through the head ingress, over and over, until `isEnough` says so; connection failures count as status 0. */
export async function askUntil(
  data: string,
  isEnough: (answers: readonly Prediction[]) => boolean,
): Promise<Prediction[]> {
  const pool = new Pool(addressesIn(data).ingress, { connections: 4, headersTimeout: 20_000 });
  const answers: Prediction[] = [];
  const worker = async (): Promise<void> => {
    while (!isEnough(answers)) {
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
  await Promise.all(Array.from({ length: 4 }, worker));
  await pool.destroy();
  return answers;
}
