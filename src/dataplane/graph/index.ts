/**
 * The inference router: a process of its own that takes requests through a graph of models, as KServe's router does. In: the spec of an
 * InferenceGraph whose services are addresses, requests. Out: what the steps answer, in one after the other, by weight, by condition, or together;
 * counts, spans. `validate` says what is wrong with a graph before it is run. May use: the kernel.
 */

export { OPERATORS } from "./conditions.js";
export { INFERENCE_ROUTER_USAGE, patternsOf, runInferenceRouterProgram } from "./program.js";
export { STEP_URLS, stepUrl } from "./read.js";
export { bundleFault } from "./trust.js";
export { type GraphFault, graphFaults, ineffectiveFields, patternFaults } from "./validate.js";
