import type { Clock, Random } from "../../kernel/clock/types.js";
import type { BodyHold } from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import type { Tracer } from "../../kernel/traces/index.js";
import type { ConfiguredModels } from "./configured-models.js";
import type { Inference } from "./inference.js";
import type { ServerMetrics } from "./metrics.js";
import type { PayloadLog } from "./payload-log/log.js";
import type { Repository } from "./repository.js";
import type { SentModels } from "./sent-models.js";
import type { ServerSettings } from "./settings.js";

/** What all protocols answer from. */
export interface ServerContext {
  readonly repository: Repository;
  readonly inference: Inference;
  readonly metrics: ServerMetrics;
  readonly settings: ServerSettings;
  readonly sent: SentModels;
  /** Where a file lists further models. */
  readonly configured: ConfiguredModels | undefined;
  /** Where there is a collector for traces. */
  readonly tracer: Tracer | undefined;
  /** Where requests and answers are logged. */
  readonly payloads: PayloadLog | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Largest body or message in bytes, also after decompression. */
  readonly maxBodyBytes: number;
  /** Opens a charge on the memory for bodies. */
  readonly chargeBody: () => BodyHold;
  /** `undefined` when the server may get requests, otherwise why not. */
  readonly notReady: () => string | undefined;
  /** Whether models may be loaded and unloaded by request. */
  readonly repositoryApi: boolean;
  readonly version: string;
}

/** What the server is called in the protocols. */
export const SERVER_NAME = "argosy";

/** The extensions of V2 that are spoken, by the names that clients look for. */
export const extensionsOf = ({ repositoryApi }: ServerContext): string[] => [
  ...["binary_tensor_data", "classification", "generate", "logging", "model_configuration", "parameters", "statistics"],
  ...(repositoryApi ? ["model_repository"] : []),
];
