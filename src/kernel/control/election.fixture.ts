import type { ApiClient } from "../client/types.js";
import type { Clock, Random } from "../clock/index.js";
import { silentLogger } from "../log/index.js";
import { createLeaderElection } from "./index.js";

/** For tests: the beginning of an election for the lease `boss`. Candidates note in `terms` when they lead and when that ends. */
export async function playElection(
  parts: { readonly client: ApiClient; readonly clock: Clock; readonly random: Random },
  advance: (ms: number) => Promise<unknown>,
) {
  const terms: string[] = [];
  const candidate = (identity: string) => {
    const stop = new AbortController();
    const lease = { namespace: "kube-system", name: "boss", identity };
    const election = createLeaderElection({ ...parts, log: silentLogger, ...lease });
    const done = election.run(async (signal) => {
      terms.push(`${identity} leads`);
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      terms.push(`${identity} ends`);
    }, stop.signal);
    return { election, stop, done };
  };
  const a = candidate("a");
  await advance(1000);
  const b = candidate("b");
  await advance(60_000);
  const before = [...terms];
  a.stop.abort();
  await a.done;
  await advance(3000);
  return { terms, before, after: [...terms], b };
}
