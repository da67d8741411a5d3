/** Many API servers in one process, each with an address, an authority and a store (in memory) of its own. Run: `node api-servers.js COUNT`; says how to enter them, as JSON in one line. */
import { createApiServer } from "../../src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { createLogger } from "../../src/kernel/log/index.js";

const [, , count = "1"] = process.argv;
const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(`${line}\n`) });
const entrances: { server: string; caPem: string; token: string }[] = [];
for (let index = 0; index < Number(count); index += 1) {
  const server = await createApiServer({
    clusterName: `member-${index}`,
    clock: systemClock,
    random: systemRandom,
    log,
    serviceCidr: "198.19.0.0/24",
    tokens: [],
    authorization: "rbac",
  });
  const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
  entrances.push({ server: url, caPem, token: server.adminToken });
}
process.stdout.write(`${JSON.stringify(entrances)}\n`);
