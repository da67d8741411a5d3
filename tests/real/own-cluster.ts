import { createApiServer } from "../../src/cluster/apiserver/index.js";
import { workloadControllers } from "../../src/cluster/workloads/index.js";
import { type ApiClient, createClient, createInformerSet } from "../../src/kernel/client/index.js";
import { seededRandom, systemClock } from "../../src/kernel/clock/index.js";
import { createManager } from "../../src/kernel/control/index.js";
import { createLogger } from "../../src/kernel/log/index.js";
import { type Ledger, memoryLedger } from "../../src/stores/ledger/index.js";

/** Our API server and those of our workload controllers that are wanted, by name, in memory. */
export async function startOwnCluster(
  isWanted: (name: string) => boolean,
): Promise<{ readonly client: ApiClient; readonly ledger: Ledger; close(): Promise<void> }> {
  const log = createLogger({ clock: systemClock, level: "error", write: (line) => process.stderr.write(line) });
  const common = { clock: systemClock, random: seededRandom(1), log };
  const server = await createApiServer({
    ...{ clusterName: "own", ...common, serviceCidr: "10.96.0.0/16", tokens: [], authorization: "rbac" },
  });
  const client = createClient({ transport: server.transport(server.adminToken), ...common });
  const informers = createInformerSet({ client, ...common });
  const manager = createManager({ cluster: { name: "own", client, informers }, ...common });
  const ledger = memoryLedger({ clock: systemClock });
  for (const spec of workloadControllers({ ledger, clusterName: "own", caPem: server.caPem }))
    if (isWanted(spec.name)) manager.add(spec);
  manager.start();
  return {
    client,
    ledger,
    async close() {
      await manager.close();
      await informers.close();
      await client.close();
      await server.close();
    },
  };
}
