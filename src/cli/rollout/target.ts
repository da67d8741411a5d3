import type { ApiClient } from "../../kernel/client/types.js";
import { InputError } from "../../kernel/errors/index.js";
import { type ControllerRevision, ControllerRevisionKind } from "../../kernel/kinds/index.js";
import {
  type HyperMLService,
  HyperMLServiceKind,
  type HyperRollout,
  HyperRolloutKind,
  rolloutOf,
} from "../../modules/fleet/index.js";
import { CommandError } from "../errors.js";
import { type ConnectionOptions, connect } from "../session.js";

/** Options of all commands on rollouts. */
export interface RolloutOptions extends ConnectionOptions {
  readonly namespace?: string;
}

/** A HyperMLService with what rules it. */
export interface Ruled {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly hyper: HyperMLService;
  readonly rollout: HyperRollout | undefined;
}

/** Reads `hmls/NAME` and fetches it. Throws `InputError`, or what the server says. */
export async function findRuled(word: string, options: RolloutOptions): Promise<Ruled> {
  const session = await connect(options);
  return ruledIn(session.client, nameIn(word), options.namespace ?? session.namespace);
}

/** The same on a client. */
export async function ruledIn(client: ApiClient, name: string, namespace: string): Promise<Ruled> {
  const hyper = await client.resource(HyperMLServiceKind).get(name, { namespace });
  const { items } = await client.resource(HyperRolloutKind).list({ namespace });
  return { client, namespace, hyper, rollout: rolloutOf(namespace, name, items) };
}

/** The name in `hmls/NAME`, `hypermlservice/NAME` or NAME. Throws `InputError`. */
export function nameIn(word: string): string {
  const parts = word.split("/");
  const [type = "", name] = parts;
  if (parts.length === 1 && type !== "") return type;
  const isHyper = ["hmls", "hypermlservice", "hypermlservices", "hypermlservices.tensorstack.dev"].includes(
    type.toLowerCase(),
  );
  if (parts.length === 2 && isHyper && name !== undefined && name !== "") return name;
  throw new InputError(`${JSON.stringify(word)} is not of the form hmls/NAME`);
}

/** The rollout, or an error that says how to get one. */
export function ruler({ rollout, hyper, namespace }: Ruled): HyperRollout {
  if (rollout !== undefined) return rollout;
  throw new CommandError(
    `no HyperRollout in namespace ${namespace} refers to HyperMLService ${hyper.metadata.name}: its changes go to all clusters at once; docs/fleet.md shows how to write one`,
  );
}

/** Its revisions, the newest first. */
export async function revisionsOf({ client, namespace, hyper }: Ruled): Promise<readonly ControllerRevision[]> {
  const labelSelector = `argosy.dev/hypermlservice-uid=${hyper.metadata.uid}`;
  const { items } = await client.resource(ControllerRevisionKind).list({ namespace, labelSelector });
  return [...items].sort((a, b) => b.revision - a.revision);
}
