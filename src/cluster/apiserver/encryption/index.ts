/**
 * What is written to the disk encrypted. In: an EncryptionConfiguration (apiserver.config.k8s.io), bytes with the key under
 * which they are stored. Out: the bytes as they stand in the journal, and back. Answers and watches never see them. May use:
 * the API server's config and store keys; node:crypto.
 */
export { type EncryptionConfig, readEncryptionConfig } from "./config.js";
export { EncryptionError } from "./errors.js";
export { encryptedJournal } from "./journal.js";
export { markJournal, rewriteJournal, settleRewrite } from "./rewrite.js";
export { createTransformer, type Transformer } from "./transformer.js";
