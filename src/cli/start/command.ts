import type { Command } from "commander";
import { type Clock, systemClock } from "../../kernel/clock/index.js";
import { InputError } from "../../kernel/errors/index.js";
import {
  type Addresses,
  type Layout,
  layoutOf,
  type Platform,
  readAddresses,
  runningProcess,
} from "../../platform/index.js";
import { type CliContext, commandWithExamples } from "../context.js";
import { CommandError, InterruptedError } from "../errors.js";
import { type OutputFormat, parseOutputFormat, renderDocument } from "../output/print.js";
import { StepList, seconds } from "../output/steps.js";
import { membersHelp, parseMembers } from "../platform/members.js";
import { type EndRequest, untilSignal } from "../platform/signals.js";
import { bringUp, bringUpUnlessAsked, runUntilAsked, shutDown } from "../platform/up.js";
import { openConnections } from "./connections.js";
import { awaitIngress, deliverModel } from "./deliver.js";
import { type RequestOutcome, sendRows } from "./requests.js";
import { type TrainedModel, trainModel } from "./train.js";

interface StartOptions {
  readonly data: string;
  readonly members?: string;
  readonly kubeconfig?: string;
  readonly fresh?: boolean;
  readonly exit?: boolean;
  readonly requests: number;
  readonly output: OutputFormat;
}

interface JobSummary {
  readonly model: TrainedModel;
  readonly url: string;
  readonly requests: RequestOutcome;
  readonly elapsedMs: number;
}

/** `argosy start` (`npm start`): the whole main job on this machine. */
export function startCommand(context: CliContext): Command {
  return commandWithExamples(
    "start",
    "Bring up the fleet, train the digits model, deliver it to two members, send it requests.",
    [
      "argosy start",
      "argosy start --exit --data /tmp/argosy",
      "argosy start --fresh",
      "argosy start --kubeconfig fleet.kubeconfig --data .argosy-agent/continuum    # on clusters of your own, which agents serve",
    ],
  )
    .option("--data <dir>", "where everything is kept", ".argosy")
    .option("--members <list>", membersHelp)
    .option(
      "--kubeconfig <file>",
      "run the example on the clusters of its contexts hub, cloud and edge, which agents serve; --data is that of the hub's agent",
    )
    .option("--fresh", "forget what the data directory holds and start over")
    .option("--exit", "end after the summary")
    .option("--requests <n>", "how many held-out rows to send", parseRequests, 1000)
    .option("-o, --output <format>", "of the summary: table | json | yaml", parseOutputFormat, "table")
    .action((options: StartOptions) => start(context, options));
}

function parseRequests(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1_000_000) {
    throw new InputError(`--requests ${JSON.stringify(text)} is no whole number between 1 and 1000000`);
  }
  return count;
}

async function start(context: CliContext, options: StartOptions): Promise<void> {
  if (options.members !== undefined) {
    requireExampleMembers(options.members);
  }
  const began = systemClock.monotonicMs();
  const steps = new StepList(context.terminal, systemClock);
  const layout = layoutOf(options.data);
  if (options.kubeconfig !== undefined) {
    await startElsewhere(context, options, { layout, steps, began, file: options.kubeconfig });
    return;
  }
  const running = await runningProcess(layout);
  if (running !== undefined && options.fresh === true) {
    throw new CommandError(
      `--fresh: ${layout.root} is in use by process ${running.pid}; stop it first with \`argosy down --data ${options.data}\``,
    );
  }
  const ending = untilSignal();
  const platform =
    running === undefined
      ? await bringUpUnlessAsked(context.terminal, ending, () => bringUp(options, steps))
      : undefined;
  const addresses = await readAddresses(layout);
  if (addresses === undefined) {
    throw new CommandError(`${layout.root} holds no addresses although Argosy runs there; see ${layout.logs}`);
  }
  let failed = true;
  try {
    const { requests } = options;
    const clusters = { file: layout.kubeconfig, names: addresses.clusters.map(({ name }) => name) };
    const job = runMainJob({ layout, addresses, clusters, steps, clock: systemClock, requests });
    const summary = await Promise.race([job, ending.then(interrupted)]);
    printSummary(context, options, addresses, { ...summary, elapsedMs: systemClock.monotonicMs() - began });
    failed = false;
  } finally {
    if (platform !== undefined && (failed || options.exit === true)) {
      await shutDown(context.terminal, platform, { keepPods: false });
    }
  }
  if (platform !== undefined && options.exit !== true) {
    await hold(context, platform, ending);
  }
}

/** The example on clusters that are there already: nothing is brought up, and nothing ended. */
async function startElsewhere(
  context: CliContext,
  options: StartOptions,
  { layout, steps, began, file }: { layout: Layout; steps: StepList; began: number; file: string },
): Promise<void> {
  if (options.members !== undefined || options.fresh === true) {
    throw new InputError(
      "--members and --fresh are of clusters that this program brings up; --kubeconfig names others",
    );
  }
  const addresses = await readAddresses(layout);
  if (addresses === undefined || addresses.clusters.length > 0) {
    throw new InputError(
      `--data ${options.data} is not the directory of a hub's agent: start \`argosy agent --level continuum --data ${options.data} …\` first`,
    );
  }
  const { requests } = options;
  const clusters = { file, names: ["hub", "cloud", "edge"] };
  const job = runMainJob({ layout, addresses, clusters, steps, clock: systemClock, requests });
  const summary = await Promise.race([job, untilSignal().then(interrupted)]);
  const elapsedMs = systemClock.monotonicMs() - began;
  printSummary(context, { ...options, exit: true }, { ...addresses, kubeconfig: file }, { ...summary, elapsedMs });
}

function requireExampleMembers(members: string): void {
  const names = parseMembers(members).map(({ name }) => name);
  const missing = ["cloud", "edge"].filter((name) => !names.includes(name));
  if (missing.length > 0) {
    throw new InputError(
      `--members ${members}: the example runs in members called cloud and edge, and ${missing.join(" and ")} is not among them; \`argosy up\` brings up any fleet`,
    );
  }
}

function interrupted(): never {
  throw new InterruptedError("ended before the example was through; the next start goes on where it was");
}

async function hold(context: CliContext, platform: Platform, ending: Promise<EndRequest>): Promise<void> {
  context.terminal.err("\nrunning; Ctrl-C stops everything, the next start resumes here\n");
  await runUntilAsked(context.terminal, platform, ending);
}

interface MainJob {
  readonly layout: Layout;
  readonly addresses: Addresses;
  /** A kubeconfig and its contexts. */
  readonly clusters: { readonly file: string; readonly names: readonly string[] };
  readonly steps: StepList;
  readonly clock: Clock;
  readonly requests: number;
}

async function runMainJob(job: MainJob): Promise<Omit<JobSummary, "elapsedMs">> {
  const { steps, clock } = job;
  const connections = await openConnections(job.layout, job.addresses, job.clusters);
  try {
    const model = await steps.run("train the digits model in cloud", async (step) => {
      const trained = await trainModel(connections, clock, (text) => step.detail(text));
      const how = trained.resumed ? "trained by an earlier start" : `run ${trained.runId}`;
      return {
        value: trained,
        summary: `model digits version ${trained.version}, accuracy ${percent(trained.accuracy)}, ${how}`,
      };
    });
    await steps.run("deliver it to cloud and edge", async (step) => ({
      value: undefined,
      summary: await deliverModel(connections, model, clock, (text) => step.detail(text)),
    }));
    const { url } = await steps.run("build the head ingress", async (step) => {
      const ingress = await awaitIngress(connections, {
        clock,
        resumed: model.resumed,
        detail: (text) => step.detail(text),
      });
      return { value: ingress, summary: ingress.summary };
    });
    const requests = await steps.run(`send ${job.requests} held-out rows`, async (step) => {
      const outcome = await sendRows(url, job.requests, (sent) => step.detail(`${sent} answered`));
      if (outcome.failed > 0) {
        throw new CommandError(`${outcome.failed} of ${outcome.sent} requests failed: ${outcome.failures.join("; ")}`);
      }
      return {
        value: outcome,
        summary: Object.entries(outcome.byMember)
          .map(([member, count]) => `${member} ${count}`)
          .join(", "),
      };
    });
    return { model, url, requests };
  } finally {
    await connections.close();
  }
}

function printSummary(
  { terminal }: CliContext,
  options: StartOptions,
  addresses: Addresses,
  summary: JobSummary,
): void {
  const { model, requests, url } = summary;
  if (options.output === "json" || options.output === "yaml") {
    const document = {
      elapsedMs: Math.round(summary.elapsedMs),
      model: { name: "digits", ...model },
      requests: {
        sent: requests.sent,
        failed: requests.failed,
        accuracy: requests.accuracy,
        byMember: { ...requests.byMember },
      },
      url,
    };
    terminal.out(renderDocument(document, options.output));
    return;
  }
  const members = Object.entries(requests.byMember).sort(([left], [right]) => left.localeCompare(right));
  const data = options.data === ".argosy" ? "" : ` --data ${options.data}`;
  const lines = [
    "",
    `Answered    ${members.map(([member, count]) => `${member} ${count} of ${requests.sent} (${percent(count / requests.sent)})`).join(", ")}`,
    `Accuracy    ${percent(requests.accuracy)} on the rows sent; ${percent(model.accuracy)} on the whole held-out data`,
    `Model       digits version ${model.version}, run ${model.runId}${model.resumed ? " (trained by an earlier start)" : ""}`,
    `Took        ${seconds(summary.elapsedMs)}`,
    "",
    ...addresses.clusters.map((cluster) => `${`API ${cluster.name}`.padEnd(14)} ${cluster.api}`),
    `${"Ingress".padEnd(14)} ${url}`,
    `${"Tracking".padEnd(14)} ${addresses.northbound}`,
    "",
    "Try next:",
    ...(options.exit === true
      ? options.kubeconfig === undefined
        ? [`  npx argosy start${data}   # goes on with what is here, and keeps running`]
        : [`  kubectl --kubeconfig ${options.kubeconfig} --context hub get hmls,headingresses -A`]
      : [
          `  kubectl --kubeconfig ${addresses.kubeconfig} --context hub get hmls,headingresses -A`,
          `  curl -s ${url}/v2/models/digits`,
          `  npx argosy explain headingress/digits -n digits${data}`,
        ]),
    "",
  ];
  terminal.out(`${lines.join("\n")}`);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
