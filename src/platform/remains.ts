import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Layout, markOf } from "./layout.js";

/** Ends what a killed or `--keep-pods` run left behind: gateway and pods. Returns how many processes there were. */
export async function stopRemains(layout: Layout): Promise<number> {
  let ended = 0;
  const gateway = await leftGateway(layout);
  if (gateway !== undefined) {
    process.kill(gateway, "SIGTERM");
    ended += 1;
  }
  return ended;
}

async function leftGateway(layout: Layout): Promise<number | undefined> {
  let text: string;
  try {
    text = await readFile(join(layout.gateway, "gateway.pid"), "utf8");
  } catch {
    return undefined;
  }
  const pid = Number(/\d+/.exec(text)?.[0]);
  return (await markOf(pid)) === undefined ? undefined : pid;
}
