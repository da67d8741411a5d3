import { productVersion } from "../../platform/index.js";
import { type OutputFormat, renderDocument } from "../output/print.js";
import type { Terminal } from "../output/terminal.js";

/** `argosy version`. */
export async function printVersion(terminal: Terminal, output: OutputFormat): Promise<void> {
  const versions = await productVersion();
  if (output === "json" || output === "yaml") {
    terminal.out(renderDocument({ ...versions }, output));
    return;
  }
  terminal.out(`argosy ${versions.argosy}\nKubernetes API ${versions.kubernetes}\nNode.js ${versions.node}\n`);
}
