/**
 * Runs `count` equal attempts in batches of 1, 2, 4, …, and stops after a batch with a failure: when the first is refused (a
 * quota, say), not all of them hit the server. Returns the first failure.
 */
export async function slowStart(
  count: number,
  attempt: (index: number) => Promise<void>,
): Promise<{ readonly error?: unknown }> {
  let done = 0;
  for (let size = 1; done < count; size *= 2) {
    const batch = Array.from({ length: Math.min(size, count - done) }, (_, offset) => attempt(done + offset));
    const results = await Promise.allSettled(batch);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) return { error: failed.reason };
    done += batch.length;
  }
  return {};
}
