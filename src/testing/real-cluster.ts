import type { ApiServer } from "../cluster/apiserver/index.js";
import { serviceAccountController } from "../cluster/workloads/index.js";
import { createClient, createInformerSet, httpTransport } from "../kernel/client/index.js";
import { seededRandom, systemClock } from "../kernel/clock/index.js";
import { createManager } from "../kernel/control/index.js";
import { InputError } from "../kernel/errors/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { type StackToken, startStack } from "./real-stack.js";

/** The folder of real programs that tests shall stand on instead of this program's own API server; absent: none. */
export const realPrograms: string | undefined = process.env["ARGOSY_TEST_REAL"];

/** A real API server of a test's own with the face of ours. It keeps an account `default` in every namespace, as every cluster does. */
export async function startRealServer(programs: string, tokens: readonly StackToken[]): Promise<ApiServer> {
  const stack = await startStack(programs, tokens);
  const { url, caPem } = stack;
  const transport = (token: string) => httpTransport({ server: url, caPem, token });
  const common = { clock: systemClock, random: seededRandom(7) };
  const client = createClient({ transport: transport(stack.token), ...common });
  const informers = createInformerSet({ client, log: silentLogger, ...common });
  const manager = createManager({ cluster: { name: "real", client, informers }, log: silentLogger, ...common });
  manager.add(serviceAccountController());
  manager.start();
  return {
    transport,
    listen: async () => ({ url, caPem }),
    handle: async () => {
      throw new InputError("a real API server is asked over its socket");
    },
    caPem,
    adminToken: stack.token,
    revision: 0,
    issueClientCertificate: (user, groups) => stack.issueClientCertificate(user, groups),
    issueServerCertificate: async () => {
      throw new InputError("a real API server signs no certificates of servers");
    },
    async close() {
      await manager.close();
      await informers.close();
      await client.close();
      await stack.close();
    },
  };
}
