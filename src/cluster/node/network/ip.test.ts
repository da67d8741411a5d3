import { expect, test } from "vitest";
import { findProgram } from "../commands.js";
import { runIp } from "./ip.js";

test.skipIf(findProgram("ip") === undefined)(
  "what is asked for together is answered apart: what was printed, and what failed and why",
  async () => {
    const nowhere = { lines: ["route show"], namespace: "argosy-nowhere" };
    const show = { lines: ["link show lo"] };

    const [first, wrong, both, second, lost] = await Promise.allSettled([
      runIp(show),
      runIp({ lines: ["link show lo", "link shaw lo", "link show lo"] }),
      runIp(nowhere, show),
      runIp(show, { lines: ["addr show dev lo"] }),
      runIp(show, nowhere),
    ]);

    expect(first).toMatchObject({ status: "fulfilled", value: expect.stringMatching(/^\d+: lo: /) });
    expect(wrong).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("shaw") } });
    expect(both).toMatchObject({ reason: { message: expect.stringContaining('namespace "argosy-nowhere"') } });
    expect(second).toMatchObject({ status: "fulfilled", value: expect.stringMatching(/^\d+: lo: .*inet 127/s) });
    expect(lost).toMatchObject({ status: "rejected" });
  },
);

test.each(["route show\n.\ntouch /tmp/x", ".", "route show\0", "a\rb"])("%j is no line", async (line) => {
  await expect(runIp({ lines: [line] })).rejects.toThrow("is no line of a batch");
});
