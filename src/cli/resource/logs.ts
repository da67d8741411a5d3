import { ApiError, InputError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObjects } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";
import type { Terminal } from "../output/terminal.js";
import type { Session } from "../session.js";

export interface LogOptions {
  readonly namespace?: string;
  readonly container?: string;
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly timestamps?: boolean;
  readonly tail?: string;
  readonly since?: string;
}

/** `argosy logs POD` or `logs job/NAME`, `deployment/NAME`: streams to stdout. */
export async function streamLogs(
  session: Session,
  target: string,
  options: LogOptions,
  terminal: Terminal,
): Promise<void> {
  const namespace = options.namespace ?? session.namespace;
  const pod = target.includes("/") ? await podOf(session, namespace, target) : target;
  const query = new URLSearchParams();
  const set = (key: string, value: string | boolean | undefined): void => {
    if (value !== undefined && value !== false) {
      query.set(key, String(value));
    }
  };
  set("container", options.container);
  set("follow", options.follow);
  set("previous", options.previous);
  set("timestamps", options.timestamps);
  set("tailLines", options.tail);
  set("sinceSeconds", options.since === undefined ? undefined : String(sinceSeconds(options.since)));
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log?${query.toString()}`;
  const response = await session.client.transport.request({ method: "GET", path });
  const decoder = new TextDecoder();
  let text = "";
  // 204: nothing runs yet.
  const isFine = response.status >= 200 && response.status < 300;
  for await (const chunk of response.body) {
    if (isFine) {
      terminal.out(decoder.decode(chunk, { stream: true }));
    } else {
      text += decoder.decode(chunk, { stream: true });
    }
  }
  if (!isFine) {
    throw refusal(text, response.status);
  }
}

function refusal(text: string, code: number): ApiError {
  let parsed: JsonObject | undefined;
  try {
    parsed = parseJsonObject(JSON.parse(text));
  } catch {
    parsed = undefined;
  }
  const word = (value: unknown, fallback: string): string => (typeof value === "string" ? value : fallback);
  return new ApiError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: word(parsed?.["message"], text || `the server answered ${code}`),
    reason: word(parsed?.["reason"], "Unknown"),
    code,
  });
}

async function podOf(session: Session, namespace: string, target: string): Promise<string> {
  const [type = "", name = ""] = target.split("/");
  if (["pod", "pods", "po"].includes(type)) {
    return name;
  }
  const collections: Record<string, string> = {
    job: "apis/batch/v1/namespaces/NS/jobs",
    deployment: "apis/apps/v1/namespaces/NS/deployments",
    deploy: "apis/apps/v1/namespaces/NS/deployments",
    statefulset: "apis/apps/v1/namespaces/NS/statefulsets",
    replicaset: "apis/apps/v1/namespaces/NS/replicasets",
  };
  const collection = collections[type.toLowerCase()];
  if (collection === undefined) {
    throw new InputError(
      `logs of ${type} are not known: name a pod, or job/NAME, deployment/NAME, statefulset/NAME, replicaset/NAME`,
    );
  }
  const owner = parseJsonObject(
    await session.client.json(
      "GET",
      `/${collection.replace("NS", encodeURIComponent(namespace))}/${encodeURIComponent(name)}`,
    ),
  );
  const labels =
    parseJsonObject(parseJsonObject(parseJsonObject(owner?.["spec"])?.["selector"])?.["matchLabels"]) ?? {};
  const selector = Object.entries(labels)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : ""}`)
    .join(",");
  const pods = parseJsonObject(
    await session.client.json(
      "GET",
      `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?labelSelector=${encodeURIComponent(selector)}`,
    ),
  );
  const [first] = asObjects(pods?.["items"]);
  const found = parseJsonObject(first?.["metadata"])?.["name"];
  if (typeof found !== "string") {
    throw new InputError(`${target} has no pods in namespace ${namespace}`);
  }
  return found;
}

/** `30s`, `5m`, `2h`, or plain seconds. */
function sinceSeconds(text: string): number {
  const match = /^(\d+)(s|m|h)?$/.exec(text);
  if (match === null) {
    throw new InputError(`--since ${JSON.stringify(text)}: write for instance 30s, 5m or 2h`);
  }
  return Number(match[1]) * ({ s: 1, m: 60, h: 3600 }[match[2] ?? "s"] ?? 1);
}
