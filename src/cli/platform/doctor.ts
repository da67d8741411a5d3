import { existsSync } from "node:fs";
import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf } from "../../kernel/errors/index.js";
import { diagnoseMachine, type Finding, layoutOf } from "../../platform/index.js";
import type { CliContext } from "../context.js";
import { exitCode } from "../errors.js";
import { type OutputFormat, renderDocument } from "../output/print.js";
import { renderTable } from "../output/table.js";

const wantedFreeBytes = 1024 ** 3;

/** `argosy doctor`: what this machine offers, what is missing, and what to do about it. Exit code 1 when Argosy cannot run. */
export async function doctor(
  { terminal, exit }: CliContext,
  options: { data: string; output: OutputFormat },
): Promise<void> {
  const findings = [...(await diagnoseMachine()), await diagnoseDirectory(options.data)];
  const isFit = findings.every((finding) => finding.available || !finding.required);
  if (options.output === "json" || options.output === "yaml") {
    terminal.out(renderDocument({ fit: isFit, findings: findings.map((finding) => ({ ...finding })) }, options.output));
  } else {
    terminal.out(
      renderTable(
        ["check", "ok", "found", "what to do"],
        findings.map(({ name, available, required, reason, remedy }) => [
          name,
          available ? "yes" : required ? "NO" : "no",
          reason,
          remedy,
        ]),
      ),
    );
  }
  exit(isFit ? exitCode.ok : exitCode.failed);
}

async function diagnoseDirectory(data: string): Promise<Finding> {
  const { root } = layoutOf(data);
  try {
    const existing = nearestFolder(root);
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    const free = bavail * bsize;
    const reason = `${(free / 1024 ** 3).toFixed(1)} GiB free at ${root}`;
    return {
      name: "data directory",
      available: free > wantedFreeBytes,
      required: true,
      reason,
      remedy: free > wantedFreeBytes ? "" : "free at least 1 GiB, or choose another with --data",
    };
  } catch (error) {
    return {
      name: "data directory",
      available: false,
      required: true,
      reason: messageOf(error),
      remedy: "choose another with --data",
    };
  }
}

/** The folder itself, or the nearest one above it that is there; looking changes nothing. */
function nearestFolder(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestFolder(dirname(path));
}
