import type { ControllerSpec } from "../../../src/kernel/control/index.js";
import type { JsonObject, KubeObject } from "../../../src/kernel/kinds/index.js";
import { asObjects, asString } from "../../../src/kernel/schema/index.js";
import { TestServiceKind } from "../../../src/modules/fleet/fixture.js";

/** The serving module's part: an MLService is ready a moment after it was changed, unless its release is broken. */
export function playServing(
  cluster: string,
  broken: ReadonlySet<string>,
): ControllerSpec<KubeObject & { spec: JsonObject; status?: JsonObject }> {
  return {
    name: "play-serving",
    kind: TestServiceKind,
    async reconcile(_key, service, context) {
      if (service === undefined || service.status?.["observedGeneration"] === service.metadata.generation) return;
      await context.clock.sleep(200);
      const { spec, metadata } = service;
      const { name, namespace = "" } = metadata;
      const release = asString(spec["default"]);
      const canary = asString(spec["canary"]);
      const share = canary === "" ? 0 : Number(spec["canaryTrafficPercent"]);
      const shares = new Map([[release, 100 - share], ...(canary === "" ? [] : [[canary, share] as const])]);
      const sick = [...shares.keys()].filter((one) => broken.has(`${namespace}/${cluster}/${one}`));
      const status: JsonObject = {
        observedGeneration: metadata.generation ?? 0,
        address: { url: `http://${name}.${cluster}` },
        defaultRelease: release,
        ...(canary === "" ? {} : { canaryRelease: canary }),
        releases: asObjects(spec["releases"]).map((one) => ({
          name: asString(one["name"]),
          ready: true,
          trafficPercent: shares.get(asString(one["name"])) ?? 0,
        })),
        conditions: [
          sick.length === 0
            ? { type: "Ready", status: "True", reason: "Answers", message: "" }
            : { type: "Ready", status: "False", reason: "NotAnswering", message: `${sick.join(", ")} crashes` },
        ],
      };
      await context.cluster.client.resource(TestServiceKind).updateStatus({ ...service, status }, { namespace });
    },
  };
}
