import type { ClusterAccess } from "../../../kernel/control/index.js";
import type { Counts } from "../../../kernel/gates/index.js";
import { isDeleting, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { countsOfModelServer } from "./exposition.js";
import { GateError } from "./prometheus.js";

const MAX_PODS = 100;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/** An MLService that is watched. */
export interface WatchedService {
  readonly namespace: string;
  readonly name: string;
  /** Only this one is watched; absent: all. */
  readonly release: string | undefined;
}

/** What a pod counted since it began. */
export interface PodCounts {
  readonly uid: string;
  readonly counts: Counts;
}

/** Asks the model servers of an MLService in a member what they counted. Throws `GateError` for one that does not say. */
export async function countsInMember(
  member: ClusterAccess,
  service: WatchedService,
  signal: AbortSignal,
): Promise<PodCounts[]> {
  const pods = await podsOf(member, service, signal);
  return Promise.all(
    pods.map(async ({ metadata }) => {
      const path = `/api/v1/namespaces/${metadata.namespace ?? ""}/pods/${metadata.name}/proxy/metrics`;
      const answer = await member.client.transport.request({ method: "GET", path, signal });
      const page = await textOf(answer.body);
      if (answer.status !== 200)
        throw new GateError(`pod ${metadata.name} in cluster ${member.name} answered ${answer.status} on /metrics`);
      return { uid: metadata.uid, counts: countsOfModelServer(page) };
    }),
  );
}

async function podsOf(
  member: ClusterAccess,
  { namespace, name, release }: WatchedService,
  signal: AbortSignal,
): Promise<Pod[]> {
  const own = release === undefined ? "" : `,tensorstack.dev/mlservice-release=${release}`;
  const labelSelector = `tensorstack.dev/mlservice=${name}${own}`;
  const { items } = await member.client.resource(PodKind).list({ namespace, labelSelector, limit: MAX_PODS, signal });
  return items.filter((pod) => pod.status?.phase === "Running" && !isDeleting(pod));
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > MAX_PAGE_BYTES) throw new GateError(`a page of metrics is longer than ${MAX_PAGE_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
