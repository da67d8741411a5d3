import { createClient, httpTransport, loadKubeconfig } from "../../kernel/client/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { messageOf } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Addresses, layoutOf, readAddresses, runningProcess } from "../../platform/index.js";
import type { CliContext } from "../context.js";
import { exitCode, NotRunningError } from "../errors.js";
import { type OutputFormat, renderDocument } from "../output/print.js";
import { renderTable } from "../output/table.js";
import { dataDirectory } from "../session.js";

interface ClusterState {
  readonly name: string;
  readonly ready: boolean;
  readonly message: string;
}

/** `argosy status`: addresses and whether they answer. Exit code 3 when nothing runs. */
export async function status(
  { terminal, exit }: CliContext,
  options: { data?: string; output: OutputFormat },
): Promise<void> {
  const layout = layoutOf(dataDirectory(options));
  const addresses = await readAddresses(layout);
  if (addresses === undefined) {
    throw new NotRunningError(`no Argosy has run in ${layout.root}: start it with \`argosy up --data ${layout.root}\``);
  }
  const running = await runningProcess(layout);
  const states = await Promise.all(addresses.clusters.map((cluster) => probe(layout.kubeconfig, cluster.name)));
  if (options.output === "json" || options.output === "yaml") {
    terminal.out(renderDocument(statusDocument(addresses, states, running?.pid), options.output));
  } else if (options.output === "name") {
    terminal.out(addresses.clusters.map((cluster) => `cluster/${cluster.name}\n`).join(""));
  } else {
    terminal.out(statusTable(addresses, states, running !== undefined));
    terminal.err(
      running === undefined
        ? `not running; data in ${layout.root}\n`
        : `running as process ${running.pid}; data in ${layout.root}\n`,
    );
  }
  exit(
    running === undefined ? exitCode.notRunning : states.every((state) => state.ready) ? exitCode.ok : exitCode.failed,
  );
}

function statusDocument(addresses: Addresses, states: readonly ClusterState[], pid: number | undefined): JsonObject {
  return {
    running: pid !== undefined,
    ...(pid === undefined ? {} : { pid }),
    ingress: addresses.ingress,
    tracking: addresses.northbound,
    northbound: addresses.northbound,
    artifacts: addresses.artifacts,
    kubeconfig: addresses.kubeconfig,
    caFile: addresses.caFile,
    clusters: addresses.clusters.map((cluster, index) => ({
      name: cluster.name,
      role: cluster.role,
      api: cluster.api,
      ingress: cluster.ingress,
      nodes: [...cluster.nodes],
      ready: states[index]?.ready === true,
      message: states[index]?.message ?? "",
    })),
  };
}

function statusTable(addresses: Addresses, states: readonly ClusterState[], isRunning: boolean): string {
  const clusters = renderTable(
    ["cluster", "role", "ready", "nodes", "api", "ingress"],
    addresses.clusters.map((cluster, index) => [
      cluster.name,
      cluster.role,
      states[index]?.ready === true ? "yes" : isRunning ? `no: ${states[index]?.message ?? ""}` : "no",
      String(cluster.nodes.length),
      cluster.api,
      cluster.ingress,
    ]),
  );
  const others = renderTable(
    ["service", "address"],
    [
      ["head ingress", addresses.ingress],
      ["tracking (MLflow REST)", addresses.northbound],
      ["artifacts (S3)", addresses.artifacts],
      ["kubeconfig", addresses.kubeconfig],
    ],
  );
  return `${clusters}\n${others}`;
}

async function probe(kubeconfig: string, name: string): Promise<ClusterState> {
  try {
    const transport = httpTransport((await loadKubeconfig(kubeconfig, name)).transport);
    const client = createClient({ transport, clock: systemClock, random: systemRandom });
    try {
      const answer = await client.transport.request({
        method: "GET",
        path: "/readyz",
        signal: AbortSignal.timeout(3000),
      });
      for await (const _ of answer.body) {
        // Read to the end so that the connection is free again.
      }
      return {
        name,
        ready: answer.status === 200,
        message: answer.status === 200 ? "" : `readyz answers ${answer.status}`,
      };
    } finally {
      await client.close();
    }
  } catch (error) {
    return { name, ready: false, message: messageOf(error) };
  }
}
