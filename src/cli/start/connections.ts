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

/** What the main job speaks to: the same addresses, certificates and tokens that any user has. */
export interface Connections {
  readonly addresses: Addresses;
  /** The CA of tracking and artifact store, PEM. */
  readonly ca: string;
  cluster(name: string): ApiClient;
  /** A JSON call on the northbound server (tracking) as the hub's administrator. */
  tracking(path: string, query?: Record<string, string>): Promise<JsonObject>;
  close(): Promise<void>;
}

/** Opens a client for each cluster of the kubeconfig. */
export async function openConnections(layout: Layout, addresses: Addresses): Promise<Connections> {
  const clients = new Map<string, ApiClient>();
  for (const { name } of addresses.clusters) {
    const transport = httpTransport((await loadKubeconfig(layout.kubeconfig, name)).transport);
    clients.set(name, createClient({ transport, clock: systemClock, random: systemRandom }));
  }
  const ca = await readFile(join(layout.pki, "ca.crt"), "utf8");
  const { token } = (await loadKubeconfig(layout.kubeconfig, "hub")).transport;
  const dispatcher = new Agent({ connect: { ca } });
  return {
    addresses,
    ca,
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
      const answer = await request(url, { dispatcher, headers: { authorization: `Bearer ${token ?? ""}` } });
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
