import { backUp, layoutOf, restore } from "../../platform/index.js";
import type { CliContext } from "../context.js";

/** `argosy backup FOLDER`: copies the data of a directory, while Argosy runs on it or not. */
export async function backupCommand({ terminal }: CliContext, folder: string, data: string): Promise<void> {
  const { clusters } = await backUp(layoutOf(data), folder);
  const names = Object.entries(clusters).map(([name, revision]) => `${name} up to revision ${revision}`);
  terminal.err(`backed up to ${folder}: ${names.join(", ")}, records and artifacts; volumes of pods are not in it\n`);
}

/** `argosy restore FOLDER`: makes a new data directory of a backup. */
export async function restoreCommand({ terminal }: CliContext, folder: string, data: string): Promise<void> {
  const { time } = await restore(folder, layoutOf(data));
  terminal.err(`restored the backup of ${time} to ${data}; start it with \`argosy up --data ${data}\`\n`);
}
