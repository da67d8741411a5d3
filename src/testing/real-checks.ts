import type { ObjectCheck } from "../cluster/apiserver/index.js";
import { admissionKeeper, startWebhookServer } from "../cluster/webhooks/index.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import type { Manager } from "../kernel/control/index.js";
import type { Authority } from "../kernel/identity/index.js";
import { silentLogger } from "../kernel/log/index.js";

/**
 * Lets a real API server ask checks that ours would ask itself, as agents have it: by webhooks. They are in force when this resolves; returns what ends
 * their server.
 */
export async function serveChecks(
  manager: Manager,
  authority: Authority,
  checks: readonly ObjectCheck[],
): Promise<() => Promise<void>> {
  const host = "127.0.0.1";
  const certificate = await authority.issueServer([host]);
  const surroundings = { clock: systemClock, random: systemRandom, log: silentLogger };
  const server = await startWebhookServer({ ...certificate, ...surroundings, checks, host, port: 0 });
  await new Promise<void>((resolve, reject) => {
    const keeper = admissionKeeper({
      name: "checks",
      namespace: "default",
      checks,
      place: { url: `https://${host}:${server.port}` },
      caPem: authority.caPem,
      mark: server.mark,
      onState: ({ isAsked, why }) => (isAsked ? resolve() : reject(new Error(why))),
    });
    manager.add(keeper.controller);
  });
  return () => server.close();
}
