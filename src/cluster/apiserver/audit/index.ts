/**
 * The audit log: who asked for what, when, and how it was answered. In: requests on their way through the line, a Policy
 * (audit.k8s.io/v1). Out: events, one JSON object a line, in a file that rotates. What is secret is in none of them: bodies of
 * Secrets, of token requests and reviews never are. May use: the API server's config, request and types; kernel clock, log, files.
 */
export { type Audit, type AuditOptions, openAudit, type Trail } from "./audit.js";
export { type AuditFileOptions, defaultAuditFile } from "./file.js";
export { type AuditPolicy, defaultAuditPolicy, readAuditPolicy } from "./policy.js";
