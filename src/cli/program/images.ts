import { resolve } from "node:path";
import type { Command } from "commander";
import { InputError } from "../../kernel/errors/index.js";
import { ownImageNames, productVersion, writeOwnImages } from "../../platform/index.js";
import { type CliContext, commandWithExamples } from "../context.js";

interface Options {
  readonly output: string;
  readonly tag?: string;
}

/** `argosy images`: what pods on Kubernetes clusters run. */
export function imagesCommand({ terminal }: CliContext): Command {
  return commandWithExamples(
    "images",
    "Write Argosy's own container images into one archive, without a container engine or registry.",
    [
      "argosy images --output argosy.tar",
      "argosy images argosy.dev/model-server --output model-server.tar",
      "ctr -n k8s.io images import argosy.tar       # on a node with containerd",
      "kind load image-archive argosy.tar",
      "skopeo copy --all oci-archive:argosy.tar:argosy.dev/argosy:0.1.0 docker://registry.example.org/argosy",
    ],
  )
    .argument("[names...]", `which of ${ownImageNames.join(", ")} (default: all)`)
    .requiredOption("--output <file>", "the archive: an OCI image layout in a tar, which `docker load` reads too")
    .option("--tag <tag>", "their tag (default: this program's version, and latest, which runtimes ask for)")
    .action(async (names: string[], { output, tag }: Options) => {
      const unknown = names.find((name) => !ownImageNames.includes(name));
      if (unknown !== undefined)
        throw new InputError(`there is no image ${JSON.stringify(unknown)}; there are ${ownImageNames.join(", ")}`);
      const written = await writeOwnImages({
        output: resolve(output),
        tag: tag ?? (await productVersion()).argosy,
        isLatest: tag === undefined,
        names: names.length === 0 ? ownImageNames : names,
      });
      for (const { name, digest } of written) terminal.out(`${name}  ${digest}\n`);
    });
}
