/** Many bindings in a Karmada that would take too long to make them. */
import { Pool, sleep } from "./client.js";
import type { KarmadaHub } from "./hubs.js";
import { binding, bindings, deployment, deployments, nextBatch, work, works } from "./objects.js";
import { kill } from "./processes.js";

/**
 * Writes Deployments, each with a binding and a Work for every member, past the webhooks and while controllers and scheduler are stopped; then
 * lets them read all that. Bindings and Works are suspended and the members stay empty: nothing is scheduled, sent or reported, so that
 * it takes less memory than it would if it had been delivered.
 */
export async function seed(hub: KarmadaHub, count: number): Promise<void> {
  const pool = await Pool.open(hub.address, 32);
  const hooks = "/apis/admissionregistration.k8s.io/v1";
  await pool.send("DELETE", `${hooks}/validatingwebhookconfigurations`);
  await pool.send("DELETE", `${hooks}/mutatingwebhookconfigurations`);
  for (const pid of hub.controllerPids()) kill(pid, "SIGSTOP");
  const batch = nextBatch();
  const names = hub.members.map(({ name }) => name);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      const text = await pool.send("POST", deployments, deployment(batch, index));
      const uid = /"uid":\s?"([^"]+)"/.exec(text)?.[1] ?? "";
      await pool.send("POST", bindings, binding({ batch, index, uid, members: names }));
      for (const name of names) {
        const draft = work(name, batch, index);
        await pool.send("POST", works(name), { ...draft, spec: { ...draft.spec, suspendDispatching: true } });
      }
    }
  };
  await Promise.all(Array.from({ length: 32 }, lane));
  pool.close();
  for (const pid of hub.controllerPids()) kill(pid, "SIGCONT");
  await sleep(30_000);
}
