import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, request } from "undici";
import { loadKubeconfig } from "../../kernel/client/index.js";
import { messageOf } from "../../kernel/errors/index.js";
import { layoutOf, readAddresses } from "../../platform/index.js";
import { CommandError, NotRunningError } from "../errors.js";
import { type ConnectionOptions, dataDirectory } from "../session.js";

/** Reads from the hub's northbound server with the hub administrator's token, or that of another kubeconfig. */
export async function northboundClient(options: ConnectionOptions): Promise<{ get(path: string): Promise<unknown> }> {
  const layout = layoutOf(dataDirectory(options));
  const addresses = await readAddresses(layout);
  if (addresses === undefined) {
    throw new NotRunningError(`no Argosy has run in ${layout.root}: start it with \`argosy up --data ${layout.root}\``);
  }
  const identity =
    options.kubeconfig === undefined
      ? await loadKubeconfig(layout.kubeconfig, "hub")
      : await loadKubeconfig(options.kubeconfig, options.context);
  const { token } = identity.transport;
  if (token === undefined)
    throw new CommandError(
      `${options.kubeconfig ?? layout.kubeconfig} has no token, and decisions are told to who shows one of the hub: \`kubectl create token ACCOUNT\` makes one`,
    );
  const ca = await readFile(join(layout.pki, "ca.crt"), "utf8");
  return {
    get: async (path) => {
      const dispatcher = new Agent({ connect: { ca } });
      try {
        const answer = await request(`${addresses.northbound}${path}`, {
          dispatcher,
          headers: { authorization: `Bearer ${token ?? ""}` },
        });
        const text = await answer.body.text();
        if (answer.statusCode !== 200) {
          throw new CommandError(`${addresses.northbound} answered ${answer.statusCode}: ${text}`);
        }
        return JSON.parse(text);
      } catch (error) {
        if (error instanceof CommandError) {
          throw error;
        }
        throw new NotRunningError(`${addresses.northbound} does not answer: ${messageOf(error)}`, { cause: error });
      } finally {
        await dispatcher.close();
      }
    },
  };
}
