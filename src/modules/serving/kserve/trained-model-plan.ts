/** Which TrainedModels a service's pods are to load, and why each other one is not. Pure. */
import type { Json } from "../../../kernel/kinds/index.js";
import { parseQuantity, quantityToNumber } from "../../../kernel/kinds/index.js";
import { hashOf } from "./children.js";
import type { TrainedModel } from "./storage-kinds.js";
import { loadedFrom } from "./trained-model-claims.js";

/** What a model list is made of. */
export interface ModelPlan {
  /** As `models.json` holds them. */
  readonly list: readonly { readonly [field: string]: Json }[];
  /** Names of those for which there is no memory, with what is taken before them. */
  readonly tooMuch: ReadonlyMap<string, number>;
  /** Names of those for which the list has no room. */
  readonly unlisted: ReadonlySet<string>;
}

/** Most that a list may be long: a ConfigMap holds 1 MiB. */
const MAX_LIST_BYTES = 1_000_000;

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

/** A list as it is written: a line for each model. */
export const listText = ({ list }: ModelPlan): string =>
  list.length === 0 ? "[]\n" : `[\n${list.map((entry) => JSON.stringify(entry)).join(",\n")}\n]\n`;

/** The older ones first, as long as all of them fit into `limitBytes` and into the list; those that cannot be served are left out by whoever calls. */
export function planModels(models: readonly TrainedModel[], limitBytes: number): ModelPlan {
  const ordered = [...models].sort(
    (a, b) =>
      compare(a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? "") ||
      compare(a.metadata.name, b.metadata.name),
  );
  const fitting: TrainedModel[] = [];
  const tooMuch = new Map<string, number>();
  const unlisted = new Set<string>();
  let [taken, length] = [0, 0];
  for (const model of ordered) {
    const bytes = bytesOf(model);
    if (taken + bytes > limitBytes) {
      tooMuch.set(model.metadata.name, taken);
      continue;
    }
    const more = Buffer.byteLength(JSON.stringify(entryOf(model))) + 2;
    if (length + more > MAX_LIST_BYTES) {
      unlisted.add(model.metadata.name);
      continue;
    }
    taken += bytes;
    length += more;
    fitting.push(model);
  }
  return { list: fitting.sort((a, b) => compare(a.metadata.name, b.metadata.name)).map(entryOf), tooMuch, unlisted };
}

function entryOf(model: TrainedModel): { readonly [field: string]: Json } {
  const { storageUri, framework, memory } = model.spec.model;
  return {
    modelName: model.metadata.name,
    modelSpec: { storageUri: loadedFrom(storageUri), framework, memory },
    revision: revisionOf(model),
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
