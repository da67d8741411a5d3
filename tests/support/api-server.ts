/** One API server as a process of its own, which tests may kill. Run: `node api-server.js DIR PORT`; says its port when it answers. */
import { createApiServer } from "../../src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { createLogger } from "../../src/kernel/log/index.js";

const [, , dataDir = "", port = "0"] = process.argv;
const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(`${line}\n`) });
const server = await createApiServer({
  clusterName: "killed",
  dataDir,
  clock: systemClock,
  random: systemRandom,
  log,
  serviceCidr: "198.19.0.0/24",
  tokens: [],
  authorization: "rbac",
});
const { url } = await server.listen({ host: "127.0.0.1", port: Number(port) });
process.stdout.write(`${new URL(url).port}\n`);
