import type { Command } from "commander";
import { runGateway } from "../../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { type CliContext, commandWithExamples } from "../context.js";
import { untilSignal } from "../platform/signals.js";

/** Programs of their own that the platform starts, and that can be run alone. */
export function programCommands(context: CliContext): Command[] {
  return [gatewayCommand(context)];
}

function gatewayCommand({ terminal }: CliContext): Command {
  return commandWithExamples("gateway", "Run the built-in gateway on a directory with a table.json.", [
    "argosy gateway --directory .argosy/gateway",
  ])
    .requiredOption("--directory <dir>", "holds table.json; state, admin socket and pid file are put there")
    .action(async ({ directory }: { directory: string }) => {
      const log = createLogger({ clock: systemClock, level: "info", write: (line) => terminal.err(line) });
      const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log });
      await untilSignal();
      await gateway.close();
    });
}
