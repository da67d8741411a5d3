/**
 * Which addresses stand behind a Service. In: Services, Pods. Out: EndpointSlices. May use: kernel client, control, kinds.
 */
export { endpointSliceController } from "./endpoint-slice.controller.js";
