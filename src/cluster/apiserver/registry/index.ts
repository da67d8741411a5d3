/**
 * What is served: every resource of Kubernetes from the reference documents, custom ones from their definitions; with it
 * discovery and OpenAPI. In: the assets, CustomResourceDefinitions of the store. Out: `Registry`. May use: merge, native, kernel.
 */
export { customVersions } from "./custom-definition.js";
export { CustomType } from "./custom-type.js";
export { DefinitionController } from "./definitions.js";
export { bodyType } from "./native-resources.js";
export { createRegistry } from "./registry.js";
