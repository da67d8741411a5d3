/**
 * Which addresses stand behind a Service. In: Services, Pods, Nodes; Endpoints that somebody wrote. Out: EndpointSlices,
 * Endpoints. May use: kernel client, control, kinds.
 */
export { endpointSliceController } from "./endpoint-slice.controller.js";
export { endpointsController } from "./endpoints.controller.js";
export { endpointsMirror } from "./mirror.controller.js";
