/**
 * The hub of a fleet beside a real Karmada: what a Work and a template cost, and how long they take. Under way.
 */
import { cpus } from "node:os";
import { karmadaPrograms, startArgosy, startKarmadaHub } from "./fleet/hubs.js";
import { rawWorks, templates } from "./fleet/loads.js";
import { serveMember } from "./fleet/members.js";
import { residentMbOf } from "./fleet/processes.js";

async function main(): Promise<void> {
  const member = text("--serve-member", "");
  if (member !== "") return serveMember(member, text("--data", ""));
  const programs = karmadaPrograms();
  const hub =
    text("--hubs", "argosy") === "karmada" && programs !== undefined
      ? await startKarmadaHub(programs)
      : await startArgosy();
  const out: Record<string, unknown> = {};
  try {
    const only = text("--only", "works,templates").split(",");
    if (only.includes("works")) {
      await rawWorks(hub, 300);
      out["works"] = await rawWorks(hub, number("--works", 3000));
      console.error(out);
      out["worksAtRate"] = await rawWorks(hub, number("--works", 3000), number("--rate", 1000));
      console.error(out);
    }
    if (only.includes("templates")) {
      await templates(hub, 50);
      out["templates"] = await templates(hub, number("--templates", 500));
      console.error(out);
      out["templatesOwn"] = await templates(hub, number("--templates", 500), { hasOwnPolicy: true });
    }
    out["residentMb"] = residentMbOf(hub.pids());
  } finally {
    await hub.stop();
  }
  process.stdout.write(
    `${JSON.stringify({ bench: "fleet", node: process.version, cpus: cpus().length, ...out }, null, 2)}\n`,
  );
}

function text(name: string, fallback: string): string {
  const index = process.argv.indexOf(name);
  return index < 0 ? fallback : (process.argv[index + 1] ?? fallback);
}

function number(name: string, fallback: number): number {
  return Number(text(name, String(fallback)));
}

await main();
