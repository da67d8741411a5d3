import { findCondition } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { isObject, toJsonObject } from "../../kernel/schema/index.js";
import { renderDocument } from "../output/print.js";
import { formatAge, renderTable } from "../output/table.js";
import type { Terminal } from "../output/terminal.js";
import { type Ruled, revisionsOf } from "./target.js";

/** How a command prints. */
export type ShowFormat = "table" | "json" | "yaml";

/** `argosy rollout status`: where a rollout stands, what each cluster has, what gates say, where requests end. */
export async function showStatus(
  ruled: Ruled,
  format: ShowFormat,
  { terminal, nowMs }: { terminal: Terminal; nowMs: number },
): Promise<void> {
  const { hyper, rollout } = ruled;
  const revisions = hyper.status?.revisions ?? [];
  const traffic = hyper.status?.traffic ?? [];
  if (format !== "table") {
    const { status } = rollout ?? {};
    const rolloutPart = status === undefined ? {} : { rollout: toJsonObject(status) };
    const document: JsonObject = toJsonObject({ ...rolloutPart, clusters: revisions, traffic });
    terminal.out(renderDocument(document, format));
    return;
  }
  const numbers = new Map((await revisionsOf(ruled)).map(({ metadata, revision }) => [metadata.name, revision]));
  const blocks = [headOf(ruled)];
  const assigned = new Map((rollout?.status?.clusters ?? []).map((one) => [one.cluster, one]));
  const names = [...new Set([...revisions.map(({ cluster }) => cluster), ...assigned.keys()])].sort();
  const rows = names.map((cluster) => {
    const one = assigned.get(cluster);
    const seen = revisions.find((row) => row.cluster === cluster);
    const number = numbers.get(one?.revision ?? seen?.revision ?? "") ?? one?.number;
    const share = one?.canaryPercent ?? seen?.canaryPercent;
    const copies = one?.shadowPercent ?? seen?.shadows?.[0]?.percent;
    return [
      cluster,
      one?.wave ?? "",
      `${number ?? "as it is"}${share === undefined ? "" : ` (canary ${share}%)`}${copies === undefined ? "" : ` (shadow ${copies}%)`}`,
      one?.state ?? (seen?.ready === true ? "Ready" : "NotReady"),
      one === undefined ? "" : formatAge(nowMs - Date.parse(one.since)),
      traffic
        .filter((row) => row.cluster === cluster)
        .map(({ release, percent }) => `${release === "" ? "" : `${release} `}${percent}%`)
        .join(", "),
      one?.message ?? seen?.message ?? "",
    ];
  });
  blocks.push(renderTable(["cluster", "wave", "revision", "state", "since", "traffic", "message"], rows));
  const gates = rollout?.status?.gates ?? [];
  if (gates.length > 0)
    blocks.push(
      renderTable(
        ["gate", "cluster", "verdict", "message"],
        gates.map((gate) => [gate.name, gate.cluster, gate.verdict, gate.message]),
      ),
    );
  terminal.out(blocks.join("\n"));
}

function headOf({ hyper, rollout, namespace }: Ruled): string {
  const ready = findCondition(hyper.status?.conditions, "Ready");
  const applied = findCondition(hyper.status?.conditions, "FullyApplied");
  const title = `hypermlservice ${namespace}/${hyper.metadata.name}`;
  if (rollout === undefined)
    return `${title}: no HyperRollout, changes go to all clusters at once\n${applied?.message ?? "not delivered yet"}; ready: ${ready?.status ?? "Unknown"}\n`;
  const { phase = "Waiting", message = "not looked at yet", target, stable, summary } = rollout.status ?? {};
  const wanted = target === undefined ? "" : `, revision ${target.number}`;
  const from = stable === undefined || stable.name === target?.name ? "" : ` (stable: ${stable.number})`;
  const count = summary === undefined ? "" : `, ${summary} clusters have it and are ready`;
  const waves = findCondition(rollout.status?.conditions, "WavesMatched");
  const unmatched = waves?.status === "False" ? `${waves.message}\n` : "";
  return `${title}: ${phase}${wanted}${from}${count}\n${message}\n${unmatched}`;
}

/** `argosy rollout history`: the revisions, the newest first. */
export async function showHistory(
  ruled: Ruled,
  format: ShowFormat,
  { terminal, nowMs }: { terminal: Terminal; nowMs: number },
): Promise<void> {
  const { rollout, hyper } = ruled;
  const { stable, target, failure } = rollout?.status ?? {};
  const rows = (await revisionsOf(ruled)).map(({ metadata, revision }) => {
    const has = (hyper.status?.revisions ?? [])
      .filter((one) => one.revision === metadata.name)
      .map(({ cluster }) => cluster);
    const marks = [
      ...(metadata.name === (stable?.name ?? hyper.status?.revision) ? ["stable"] : []),
      ...(metadata.name === target?.name && target.name !== stable?.name ? ["target"] : []),
      ...(metadata.name === failure?.revision ? [`failed: ${failure.reason}`] : []),
    ];
    return {
      revision,
      name: metadata.name,
      created: metadata.creationTimestamp ?? "",
      clusters: has,
      marks,
      cause: metadata.annotations?.["kubernetes.io/change-cause"] ?? "",
    };
  });
  if (format !== "table") {
    const document: unknown = { revisions: rows };
    terminal.out(renderDocument(isObject(document) ? document : {}, format));
    return;
  }
  const lines = rows.map((row) => [
    String(row.revision),
    row.name,
    formatAge(nowMs - Date.parse(row.created)),
    row.clusters.join(","),
    row.marks.join(", "),
    row.cause,
  ]);
  terminal.out(renderTable(["revision", "name", "age", "clusters", "is", "change-cause"], lines));
}
