import { s } from "../../kernel/schema/index.js";

/** Entries of a HeadIngress' `spec.shadows`. */
export const shadowSpec = s.object({
  name: s.string({ min: 1, max: 253 }).describe("Name in status, metrics and the copies' header X-Argosy-Shadow."),
  percent: s.number({ min: 0, max: 100 }).optional().describe("Share of the requests that is copied. Default 100."),
  url: s
    .string({ pattern: "^https?://[^/]+", max: 2048 })
    .optional()
    .describe("Who gets the copies: scheme, host and port. Either this or cluster."),
  host: s.string().optional().describe("With url: Host header; default: the host of the URL."),
  address: s.string().optional().describe("With url: host:port to connect to instead of the URL's."),
  cluster: s
    .string({ min: 1, max: 253 })
    .optional()
    .describe("Who gets the copies: the MLService of hyperMLServiceRef in this cluster; it may have weight 0."),
  release: s
    .string({ min: 1, max: 253 })
    .optional()
    .describe("With cluster: one release of it, by its own address. Default: as its requests are split there."),
  of: s
    .array(s.string({ min: 1, max: 253 }), { max: 256 })
    .optional()
    .describe("Only requests that go to backends of these names are copied. Default: all."),
  maxConcurrent: s
    .integer({ min: 1, max: 4096 })
    .optional()
    .describe("Copies on their way at once; what comes beyond is not copied. Default 64."),
  maxBodyBytes: s
    .integer({ min: 1, max: 67_108_864 })
    .optional()
    .describe("Requests with longer bodies are not copied. Default 1048576."),
  timeoutMs: s
    .integer({ min: 1, max: 600_000 })
    .optional()
    .describe("Milliseconds until a copy is given up. Default 10000."),
});

/** Entries of a HeadIngress' `status.shadows`. */
export const shadowStatus = s.object({
  name: s.string().describe("Name of the shadow."),
  url: s.string().describe("Scheme, host and port that copies are sent to; empty while there is none."),
  percent: s.number().describe("Share asked for."),
  percentEffective: s.number().describe("Share that is copied now."),
  reason: s.string().optional().describe("Why the two differ, as one word."),
  message: s.string().optional().describe("The same for people; or why the last copy got no answer."),
  copied: s.integer().optional().describe("Copies sent since the gateway began. Absent: nobody counts."),
  skipped: s
    .integer()
    .optional()
    .describe("Requests that were to be copied and were not: too many on their way, too long, or broken off."),
  failures: s.integer().optional().describe("Copies without an answer."),
  compared: s.integer().optional().describe("Copies that were answered as well as their originals."),
  differing: s.integer().optional().describe("Of those, answered with another status."),
  latencyMs: s.number().optional().describe("How long they took, in the mean."),
  originalLatencyMs: s.number().optional().describe("How long their originals took."),
});
