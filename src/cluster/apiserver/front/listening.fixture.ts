import { seededRandom, type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { atEnd } from "../../../testing/at-end.js";
import { type ApiServer, createApiServer } from "../index.js";

/** For tests: an API server in memory that listens on the loopback, with time that stands still. It ends with the test, or those of the file. */
export async function startListening(): Promise<{ clock: VirtualClock; server: ApiServer; url: string }> {
  const clock = virtualClock(Date.UTC(2026, 0, 1));
  const server = await createApiServer({
    ...{ clusterName: "listening", clock, random: seededRandom(1), log: silentLogger },
    ...{ serviceCidr: "198.19.0.0/24", authorization: "rbac", tokens: [] },
  });
  atEnd(() => server.close());
  return { clock, server, url: (await server.listen({ host: "127.0.0.1", port: 0 })).url };
}
