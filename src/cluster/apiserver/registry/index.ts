/**
 * What is served: every resource of Kubernetes from the reference documents, custom ones from their definitions; with it
 * discovery and OpenAPI. In: the assets, CustomResourceDefinitions of the store. Out: `Registry`. May use: merge, native, kernel.
 */
export { humanDuration } from "./ages.js";
export type { DefinitionHost, DefinitionOptions } from "./definitions.js";
export { cleanupFinalizer, DefinitionController } from "./definitions.js";
export type { LiveRegistry, RegistryOptions } from "./registry.js";
export { createRegistry } from "./registry.js";
export { kubernetesVersion } from "./version.js";
