/**
 * The checks that the embedded API server asks itself, for an API server of somebody else: admission webhooks. In: checks, a certificate, where that
 * server finds us. Out: a server that answers AdmissionReviews, and the configurations that have it asked, kept true and proven to work. May use: kernel,
 * the embedded API server's checks.
 */
export type { HookPlace } from "./configurations.js";
export { type AdmissionKeeper, admissionKeeper, type KeeperOptions, webhookRules } from "./keeper.js";
export { startWebhookServer, type WebhookServer, type WebhookServerOptions } from "./server.js";
