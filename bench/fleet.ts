/**
 * The hub of a fleet beside a real Karmada (ARGOSY_REAL_BIN, or where `npm run test:real` built one; tuned flags, see fleet/hubs.ts). Each hub
 * has three members in processes of their own, embedded API servers for both, joined by push; CPU and memory are the hub's alone. What
 * is delivered are Deployments; nothing makes pods of them. Karmada gets smaller loads, since it is slow; the counts are in the result.
 * - works: Works written by hand, all at once (CPU, works a second) and at a rate. From the moment a write is due until a watch of the member tells of it.
 * - templates: Deployments that a policy sends to all three members (one policy for all, or one each), until their bindings say so.
 * - decisions: placement alone, in this process.
 * - outage: one member is frozen (SIGSTOP) under load.
 * - scale: memory with many bindings; the hub ended and started again with all their Works, while things change in the members.
 * Run: `node dist/bench/fleet.js [--only works,templates,decisions,outage,scale] [--hubs argosy,karmada] [--rounds 3] [--works 5000]
 * [--rate 1000] [--templates 1000] [--outage-rate 200] [--bindings 10000] [--profile DIR]`; a Karmada's loads by `--peer-works 300 --peer-templates 60`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { barsOf, type HubResult } from "./fleet/bars.js";
import { sleep } from "./fleet/client.js";
import { decisions } from "./fleet/decisions.js";
import { type Hub, type KarmadaHub, karmadaPrograms, startArgosy, startKarmadaHub } from "./fleet/hubs.js";
import { type LoadResult, rawWorks, templates } from "./fleet/loads.js";
import { serveMember } from "./fleet/members.js";
import { nextBatch } from "./fleet/objects.js";
import { outage } from "./fleet/outage.js";
import { residentMbOf } from "./fleet/processes.js";
import { restart } from "./fleet/restart.js";
import { seed } from "./fleet/seed.js";

async function main(): Promise<void> {
  const member = text("--serve-member", "");
  if (member !== "") return serveMember(member, text("--data", ""));
  const folder = mkdtempSync(join(tmpdir(), "argosy-bench-fleet-"));
  process.env["TMPDIR"] = folder;
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const load = loadavg()[0];
  const argosy: HubResult = {};
  const karmada: HubResult = {};
  const hubs = text("--hubs", "argosy,karmada").split(",");
  const programs = hubs.includes("karmada") ? karmadaPrograms() : undefined;
  const placement = only("decisions") ? decisions(1000) : undefined;
  if (hubs.includes("argosy")) await measureArgosy(argosy);
  if (programs !== undefined) {
    step("karmada: start");
    await keeping(startKarmadaHub(programs), (hub) => measureKarmada(hub, karmada));
  }
  const skipped =
    programs === undefined && hubs.includes("karmada")
      ? {
          skipped:
            "karmada: etcd, kube-apiserver, kube-controller-manager and Karmada's programs are not all in ARGOSY_REAL_BIN",
        }
      : {};
  const bars = barsOf({ argosy, karmada, decisions: placement });
  const machine = { node: process.version, cpus: cpus().length, loadBefore: load };
  print({ bench: "fleet", ...machine, ...skipped, decisionsPerSecond: placement, argosy, karmada, bars });
}

async function measureArgosy(result: HubResult): Promise<void> {
  if (only("works")) {
    step("argosy: start");
    await keeping(startArgosy(text("--profile", "")), async (hub) => {
      await rawWorks(hub, 500);
      const count = number("--works", 5000);
      const rate = number("--rate", 1000);
      const atOnce = await rounds("argosy: works at once", () => rawWorks(hub, count));
      const atRate = await rounds("argosy: works at a rate", () => rawWorks(hub, count, rate));
      result.works = { atOnce, atRate: { ...atRate, offeredPerSecond: rate } };
    });
  }
  if (["templates", "outage"].some(only)) {
    step("argosy: start");
    await keeping(startArgosy(text("--profile", "")), async (hub) => {
      if (only("templates")) {
        const count = number("--templates", 1000);
        // As many of each before the first round as in one: hub and members are compiled as they run.
        result.templates = await bothTemplates(hub, count, count);
      }
      if (only("outage")) {
        step("argosy: one member frozen");
        result.outage = await outage(hub, { perSecond: number("--outage-rate", 200), seconds: 30, limit: 120 });
      }
    });
  }
  if (only("scale")) {
    step("argosy: many bindings");
    await keeping(startArgosy(), async (hub) => {
      const restMb = residentMbOf(hub.pids());
      const count = number("--bindings", 10_000);
      const batch = nextBatch();
      await templates(hub, count, { batch, limit: 900 });
      await sleep(5000);
      result.memory = { residentMb: residentMbOf(hub.pids()), bindings: count, restMb };
      step("argosy: restart");
      result.restart = await restart(hub, { batch, count, limit: 180 });
    });
  }
}

async function measureKarmada(hub: KarmadaHub, result: HubResult): Promise<void> {
  const restMb = residentMbOf(hub.pids());
  const count = number("--peer-templates", 60);
  if (only("works")) {
    await rawWorks(hub, 30);
    result.works = { atOnce: await rounds("karmada: works at once", () => rawWorks(hub, number("--peer-works", 300))) };
  }
  if (only("templates")) result.templates = await bothTemplates(hub, count, Math.ceil(count / 10));
  if (only("outage")) {
    step("karmada: one member frozen");
    try {
      result.outage = await outage(hub, { perSecond: 15, seconds: 90, limit: 150 });
    } catch (error) {
      // Its API was seen to leave a write without an answer for two minutes then; the other figures stand.
      result.outageFault = error instanceof Error ? error.message : String(error);
    }
  }
  if (only("scale")) {
    step("karmada: many bindings");
    const bindings = number("--bindings", 10_000);
    await seed(hub, bindings);
    result.memory = { residentMb: residentMbOf(hub.pids()), bindings, restMb };
  }
}

async function bothTemplates(hub: Hub, count: number, warmUp: number): Promise<NonNullable<HubResult["templates"]>> {
  await templates(hub, warmUp);
  await templates(hub, warmUp, { hasOwnPolicy: true });
  const onePolicy = await rounds(`${hub.name}: templates, one policy`, () => templates(hub, count));
  const ownPolicies = await rounds(`${hub.name}: templates, a policy each`, () =>
    templates(hub, count, { hasOwnPolicy: true }),
  );
  return { onePolicy, ownPolicies };
}

/** Of some rounds the one that is in the middle by its CPU. */
async function rounds(what: string, measure: () => Promise<LoadResult>): Promise<LoadResult> {
  step(what);
  const samples: LoadResult[] = [];
  for (let round = 0; round < number("--rounds", 3); round++) {
    const sample = await measure();
    step(`  ${sample.cpuMs} ms of CPU each (members ${sample.membersCpuMs}), ${sample.perSecond}/s`);
    samples.push(sample);
  }
  const [middle] = samples.toSorted((a, b) => a.cpuMs - b.cpuMs).slice(Math.floor(samples.length / 2));
  if (middle === undefined) throw new Error("no rounds");
  return middle;
}

async function keeping<T extends { stop(): Promise<void> }>(
  starting: Promise<T>,
  use: (it: T) => Promise<void>,
): Promise<void> {
  const it = await starting;
  try {
    await use(it);
  } finally {
    await it.stop();
  }
}

function only(part: string): boolean {
  return text("--only", "works,templates,decisions,outage,scale").split(",").includes(part);
}

function step(what: string): void {
  process.stderr.write(`  ${what}\n`);
}

function text(name: string, fallback: string): string {
  const index = process.argv.indexOf(name);
  return index < 0 ? fallback : (process.argv[index + 1] ?? fallback);
}

function number(name: string, fallback: number): number {
  return Number(text(name, String(fallback)));
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

await main();
