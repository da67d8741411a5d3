import { createApiServer } from "../../src/cluster/apiserver/index.js";
import { seededRandom, systemClock } from "../../src/kernel/clock/index.js";
import { silentLogger } from "../../src/kernel/log/index.js";
import { openTarget, type Target } from "./fuzz/target.js";

/** An API server of ours behind TLS, in memory, without controllers. */
export async function openOwn(): Promise<Target> {
  const token = "fuzz-token";
  const server = await createApiServer({
    clusterName: "fuzz",
    clock: systemClock,
    random: seededRandom(Date.now()),
    log: silentLogger,
    serviceCidr: "10.96.0.0/16",
    tokens: [
      { token, user: { username: "fuzzer", uid: "fuzzer", groups: ["system:masters", "system:authenticated"] } },
    ],
    authorization: "rbac",
  });
  const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
  const target = openTarget({ url, caPem, token });
  return {
    open: (scenario) => target.open(scenario),
    async close() {
      await target.close();
      await server.close();
    },
  };
}
