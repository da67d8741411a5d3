// An API server in a process of its own and the folder that is named, for the hostile requests: says where it listens, then answers "usage" with its memory, in MiB.
import { createApiServer, defaultLimits } from "../../dist/src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../../dist/src/kernel/clock/index.js";
import { createLogger } from "../../dist/src/kernel/log/index.js";

const server = await createApiServer({
  clusterName: "hostile",
  dataDir: process.argv[2],
  clock: systemClock,
  random: systemRandom,
  log: createLogger({ clock: systemClock, level: "error", write: (line) => process.send({ log: line }) }),
  serviceCidr: "198.19.0.0/24",
  authorization: "rbac",
  tokens: [{ token: "stranger-token-0123456789", user: { username: "stranger", groups: [] } }],
  limits: defaultLimits,
});
const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
process.on("message", (message) => {
  if (message === "usage") {
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    const [all, heap, outside] = [rss, heapUsed, external].map((bytes) => Math.round(bytes / 1024 / 1024));
    process.send({ usage: { all, heap, outside } });
  }
});
process.on("disconnect", () => process.exit());
process.send({ url, caPem, token: server.adminToken });
