/** Which TrainedModels a service's pods are to load, and why each other one is not. Pure. */
import type { Json } from "../../../kernel/kinds/index.js";
import { parseQuantity, quantityToNumber } from "../../../kernel/kinds/index.js";
import { hashOf } from "./children.js";
import type { TrainedModel } from "./storage-kinds.js";

/** What a model list is made of. */
export interface ModelPlan {
  /** As `models.json` holds them. */
  readonly list: readonly { readonly [field: string]: Json }[];
  /** Names of those for which there is no memory, with what is taken before them. */
  readonly tooMuch: ReadonlyMap<string, number>;
}

/** What names a model as it is asked for now. */
export const revisionOf = ({ metadata, spec }: TrainedModel): string =>
  hashOf([metadata.uid, toPlain(spec.model)]).slice(0, 16);

const toPlain = ({ storageUri, framework, memory }: TrainedModel["spec"]["model"]): Json[] => [
  storageUri,
  framework,
  memory,
];

/** Bytes that a model says it takes. */
export const bytesOf = ({ spec }: TrainedModel): number => quantityToNumber(parseQuantity(spec.model.memory));

/** The older ones first, as long as all of them fit into `limitBytes`; those that cannot be served are left out by whoever calls. */
export function planModels(models: readonly TrainedModel[], limitBytes: number): ModelPlan {
  const ordered = [...models].sort(
    (a, b) =>
      compare(a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? "") ||
      compare(a.metadata.name, b.metadata.name),
  );
  const fitting: TrainedModel[] = [];
  const tooMuch = new Map<string, number>();
  let taken = 0;
  for (const model of ordered) {
    const bytes = bytesOf(model);
    if (taken + bytes > limitBytes) {
      tooMuch.set(model.metadata.name, taken);
      continue;
    }
    taken += bytes;
    fitting.push(model);
  }
  return { list: fitting.sort((a, b) => compare(a.metadata.name, b.metadata.name)).map(entryOf), tooMuch };
}

function entryOf(model: TrainedModel): { readonly [field: string]: Json } {
  const { storageUri, framework, memory } = model.spec.model;
  return {
    modelName: model.metadata.name,
    modelSpec: { storageUri, framework, memory },
    revision: revisionOf(model),
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
