import type { ApiServer, ObjectCheck } from "../cluster/apiserver/index.js";
import { serviceAccountController } from "../cluster/workloads/index.js";
import { createClient, createInformerSet, httpTransport } from "../kernel/client/index.js";
import { seededRandom, systemClock } from "../kernel/clock/index.js";
import { createManager } from "../kernel/control/index.js";
import { InputError } from "../kernel/errors/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { serveChecks } from "./real-checks.js";
import { giveBack, takeStack } from "./real-pool.js";
import type { StackToken } from "./real-stack.js";
import type { Traffic } from "./traffic.js";

/** The folder of real programs that tests shall stand on instead of this program's own API server; absent: none. */
export const realPrograms: string | undefined = process.env["ARGOSY_TEST_REAL"];

/** Fields that our controllers carry out and Kubernetes 1.34 takes only when asked (docs/kubernetes-differences.md). */
const features = ["HPAConfigurableTolerance", "MaxUnavailableStatefulSet"];

/** What a real API server is started with. */
export interface RealServerOptions {
  readonly tokens: readonly StackToken[];
  readonly checks: readonly ObjectCheck[];
  /** Told of what its clients ask; absent: nobody is. */
  readonly traffic?: Traffic;
}

/** A real API server of a test's own with the face of ours. It keeps an account `default` in every namespace, as every cluster does. */
export async function startRealServer(programs: string, options: RealServerOptions): Promise<ApiServer> {
  const stack = await takeStack(programs, { tokens: options.tokens, features });
  const { url, caPem } = stack;
  const { traffic } = options;
  const plainTransport = (token: string) => httpTransport({ server: url, caPem, token });
  const transport = (token: string) => traffic?.through(plainTransport(token), plain) ?? plainTransport(token);
  const plain = plainTransport(stack.token);
  const common = { clock: systemClock, random: seededRandom(7) };
  const client = createClient({ transport: plain, ...common });
  const informers = createInformerSet({ client, log: silentLogger, ...common });
  const manager = createManager({ cluster: { name: "real", client, informers }, log: silentLogger, ...common });
  manager.add(serviceAccountController());
  manager.start();
  const endChecks =
    options.checks.length === 0 ? undefined : await serveChecks(manager, stack.authority, options.checks);
  return {
    transport,
    listen: async () => ({ url, caPem }),
    handle: async () => {
      throw new InputError("a real API server is asked over its socket");
    },
    caPem,
    adminToken: stack.token,
    revision: 0,
    issueClientCertificate: (user, groups) => stack.authority.issueClient(user, groups),
    issueServerCertificate: (names) => stack.authority.issueServer(names),
    async close() {
      traffic?.forget(plain);
      await manager.close();
      await informers.close();
      await client.close();
      await endChecks?.();
      await giveBack(stack);
    },
  };
}
