import type { ClusterAccess, ControllerSpec } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { type ConfigMap, ConfigMapKind } from "../../../kernel/kinds/index.js";
import { deadline } from "../deadline.js";
import { executionSpaceOf } from "../names.js";
import {
  ASKED,
  FIGURES,
  type Question,
  readQuestion,
  type ServiceFigures,
  TOLD,
  writeAnswer,
} from "../rollout/figures.js";
import { countsInMember, type WatchedService } from "../rollout/model-servers.js";

const NAME = "figures-controller";
/** As often as gates look. */
const EVERY_MS = 5000;
/** The hub asks every minute as long as it wants to know. */
const STOP_MS = 180_000;
const TIMEOUT_MS = 5000;

/** Tells the hub, as long as it asks, what the member's model servers count: gates of rollouts want to know, and the hub has no way in. */
export function figuresController(member: ClusterAccess): ControllerSpec<ConfigMap> {
  const space = executionSpaceOf(member.name);
  let asked = { mark: "", sinceMs: 0 };
  let told = 0;
  return {
    name: NAME,
    kind: ConfigMapKind,
    concerns: (now, old) => now.data?.[ASKED] !== old.data?.[ASKED],
    async reconcile(key, map, { cluster, clock, signal }) {
      if (key.namespace !== space || key.name !== FIGURES) return undefined;
      const question = readQuestion(map?.data?.[ASKED]);
      if (question === undefined) return undefined;
      if (asked.mark !== question.mark) asked = { mark: question.mark, sinceMs: clock.monotonicMs() };
      if (clock.monotonicMs() - asked.sinceMs > STOP_MS) return undefined;
      const limit = deadline(clock, signal, TIMEOUT_MS);
      const figures = await figuresOf(member, question, limit.signal).finally(() => limit.done());
      told += 1;
      const answer = writeAnswer({ mark: question.mark, serial: `${clock.now()}-${told}`, figures });
      const options = { namespace: space, fieldManager: "argosy-agent", signal };
      await cluster.client.resource(ConfigMapKind).patch(FIGURES, "merge", { data: { [TOLD]: answer } }, options);
      return { requeueAfterMs: EVERY_MS };
    },
  };
}

function figuresOf(member: ClusterAccess, { services }: Question, signal: AbortSignal): Promise<ServiceFigures[]> {
  return Promise.all(
    services.map(async (service: WatchedService): Promise<ServiceFigures> => {
      try {
        return { service, pods: await countsInMember(member, service, signal) };
      } catch (error) {
        return { service, pods: [], fault: messageOf(error) };
      }
    }),
  );
}
