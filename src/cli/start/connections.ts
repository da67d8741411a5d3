import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, request } from "undici";
import { createClient, httpTransport, loadKubeconfig } from "../../kernel/client/index.js";
import type { ApiClient } from "../../kernel/client/types.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Addresses, Layout } from "../../platform/index.js";
import { CommandError } from "../errors.js";
import { parseJsonObject } from "../manifest/json.js";
import { applyObjects, exampleFile, fillManifest } from "./manifests.js";

export const exampleNamespace = "digits";

/** What the main job speaks to: the same addresses, certificates and tokens that any user has. */
export interface Connections {
  readonly addresses: Addresses;
  /** The CA of tracking and artifact store, PEM. */
  readonly ca: string;
  cluster(name: string): ApiClient;
  /** A token of a hub ServiceAccount that may write tracking records and nothing else. */
  trainerToken(): Promise<string>;
  /** A JSON call on the northbound server (tracking) as the hub's administrator. */
  tracking(path: string, query?: Record<string, string>): Promise<JsonObject>;
  close(): Promise<void>;
}

/** Opens a client for each of these contexts of a kubeconfig. */
export async function openConnections(
  layout: Layout,
  addresses: Addresses,
  { file, names }: { readonly file: string; readonly names: readonly string[] },
): Promise<Connections> {
  const clients = new Map<string, ApiClient>();
  for (const name of names) {
    const transport = httpTransport((await loadKubeconfig(file, name)).transport);
    clients.set(name, createClient({ transport, clock: systemClock, random: systemRandom }));
  }
  const ca = await readFile(join(layout.pki, "ca.crt"), "utf8");
  const { token } = (await loadKubeconfig(file, "hub")).transport;
  const dispatcher = new Agent({ connect: { ca } });
  const hub = clients.get("hub");
  let issued: Promise<string> | undefined;
  const trainerToken = () => {
    if (hub === undefined) throw new CommandError(`${file} has no context called hub`);
    issued ??= issueTrainingToken(hub);
    return issued;
  };
  return {
    addresses,
    ca,
    trainerToken,
    cluster: (name) => {
      const client = clients.get(name);
      if (client === undefined) {
        throw new CommandError(
          `the example needs a member called ${name}; this fleet has ${[...clients.keys()].join(", ")}: start with --members cloud=2,edge,far-edge`,
        );
      }
      return client;
    },
    tracking: async (path, query = {}) => {
      const url = `${addresses.northbound}${path}?${new URLSearchParams(query).toString()}`;
      // A user with a certificate has no token that tracking could ask the hub about; whoever trains may read there too.
      const bearer = token ?? (await trainerToken());
      const answer = await request(url, { dispatcher, headers: { authorization: `Bearer ${bearer}` } });
      const text = await answer.body.text();
      if (answer.statusCode !== 200) {
        throw new CommandError(`tracking answered ${answer.statusCode} to ${path}: ${text.slice(0, 300)}`);
      }
      return parseJsonObject(JSON.parse(text)) ?? {};
    },
    close: async () => {
      for (const client of clients.values()) {
        await client.close();
      }
      await dispatcher.close();
    },
  };
}

async function issueTrainingToken(hub: ApiClient): Promise<string> {
  await applyObjects(hub, await fillManifest(exampleFile("manifests", "hub-access.yaml"), {}));
  const answer = parseJsonObject(
    await hub.json("POST", `/api/v1/namespaces/${exampleNamespace}/serviceaccounts/trainer/token`, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { audiences: [], expirationSeconds: 86_400 },
    }),
  );
  const token = parseJsonObject(answer?.["status"])?.["token"];
  if (typeof token !== "string") {
    throw new CommandError("the hub issued no token for the ServiceAccount digits/trainer");
  }
  return token;
}
