import { type ControllerRevision, ControllerRevisionKind } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { toJsonObject } from "../../kernel/schema/index.js";
import { HyperMLServiceKind, type HyperRollout, HyperRolloutKind, readRevision } from "../../modules/fleet/index.js";
import { CommandError } from "../errors.js";
import type { Terminal } from "../output/terminal.js";
import { type Ruled, revisionsOf, ruler } from "./target.js";

const MANAGER = "argosy";

async function change(ruled: Ruled, spec: JsonObject): Promise<HyperRollout> {
  const { name } = ruler(ruled).metadata;
  const options = { namespace: ruled.namespace, fieldManager: MANAGER };
  return ruled.client.resource(HyperRolloutKind).patch(name, "merge", { spec }, options);
}

/** `argosy rollout pause`, `resume`. */
export async function setPaused(ruled: Ruled, paused: boolean, terminal: Terminal): Promise<void> {
  const { spec, metadata } = ruler(ruled);
  const word = paused ? "paused" : "resumed";
  if ((spec.paused === true) === paused) {
    terminal.out(`hyperrollout/${metadata.name} ${paused ? "is paused already" : "was not paused"}\n`);
    return;
  }
  await change(ruled, { paused });
  terminal.out(`hyperrollout/${metadata.name} ${word}\n`);
}

/** `argosy rollout promote`: approves the wave that is on or waits, another, or all. Throws `CommandError` when there is nothing to promote. */
export async function promote(
  ruled: Ruled,
  options: { readonly through?: string; readonly all?: boolean },
  terminal: Terminal,
): Promise<void> {
  const { status, metadata } = ruler(ruled);
  const { target, phase = "Waiting", message = "" } = status ?? {};
  if (target === undefined || phase === "Complete" || phase === "RolledBack" || phase === "RollingBack")
    throw new CommandError(`there is nothing to promote: ${phase}: ${message}`);
  const through = options.all === true ? "*" : (options.through ?? status?.awaits ?? status?.wave?.name);
  if (through === undefined)
    throw new CommandError(`no wave is on or waits (${phase}: ${message}); --through WAVE or --all says what is meant`);
  await change(ruled, { promoted: { revision: target.name, number: target.number, through } });
  const what = through === "*" ? "all waves" : `waves through ${through}`;
  terminal.out(`hyperrollout/${metadata.name}: ${what} of revision ${target.number} go on when they are ready\n`);
}

/** `argosy rollout abort`: takes the revision that is rolled out back. Throws `CommandError` when none is. */
export async function abort(ruled: Ruled, terminal: Terminal): Promise<void> {
  const { status, metadata } = ruler(ruled);
  const { target, stable, phase } = status ?? {};
  if (target === undefined || stable === undefined || target.name === stable.name)
    throw new CommandError(
      `no revision is being rolled out (${phase ?? "Waiting"}); \`argosy rollout undo\` goes back to an earlier one`,
    );
  await change(ruled, { aborted: { revision: target.name, number: target.number } });
  terminal.out(`hyperrollout/${metadata.name}: revision ${target.number} is taken back to revision ${stable.number}\n`);
}

/** `argosy rollout undo`: writes the content of an earlier revision into the HyperMLService. Throws `CommandError`. */
export async function undo(ruled: Ruled, to: number | undefined, terminal: Terminal): Promise<void> {
  const { client, namespace, hyper, rollout } = ruled;
  const revisions = await revisionsOf(ruled);
  const revision = chosen(revisions, to);
  const workloads = await readRevision(client, revision);
  if (workloads === undefined)
    throw new CommandError(
      `RevisionContents ${namespace}/${revision.metadata.name}, which holds the Secrets of revision ${revision.revision}, is gone`,
    );
  const spec = toJsonObject({ workloads });
  const options = { namespace, fieldManager: MANAGER };
  await client.resource(HyperMLServiceKind).patch(hyper.metadata.name, "merge", { spec }, options);
  const how =
    rollout === undefined
      ? "in all clusters at once"
      : rollout.status?.stable?.name === revision.metadata.name
        ? `by HyperRollout ${rollout.metadata.name}, at once: it is the stable one`
        : `by HyperRollout ${rollout.metadata.name}, in its waves`;
  terminal.out(
    `hypermlservice/${hyper.metadata.name} has the content of revision ${revision.revision} again, ${how}\n`,
  );
}

function chosen(revisions: readonly ControllerRevision[], to: number | undefined): ControllerRevision {
  const known = revisions.map(({ revision }) => revision).join(", ");
  const found = to === undefined ? revisions[1] : revisions.find(({ revision }) => revision === to);
  if (found !== undefined) return found;
  const what = to === undefined ? "there is no earlier revision" : `there is no revision ${to}`;
  throw new CommandError(`${what}; ${ControllerRevisionKind.kind}s are kept of: ${known === "" ? "none" : known}`);
}
