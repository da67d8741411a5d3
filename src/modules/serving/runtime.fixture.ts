import type { JsonObject } from "../../kernel/kinds/object.js";

/** For tests: the MLServiceRuntime `onnx`, which runs the built-in model server with these arguments. */
export const modelServerRuntime = (
  namespace: string,
  args: readonly string[],
  more: { readonly port?: number; readonly container?: JsonObject; readonly pod?: JsonObject } = {},
) => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLServiceRuntime",
  metadata: { name: "onnx", namespace },
  spec: {
    enabled: true,
    template: {
      spec: {
        containers: [
          {
            name: "user-container",
            image: "argosy.dev/model-server",
            args: [...args],
            ports: [{ containerPort: more.port ?? 8080 }],
            ...more.container,
          },
        ],
        ...more.pod,
      },
    },
  },
});
