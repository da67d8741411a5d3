import { type ApiClient, createClient, httpTransport, loadKubeconfig } from "../../kernel/client/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { messageOf } from "../../kernel/errors/index.js";
import { clusterIdentity } from "../../modules/fleet/index.js";
import { CommandError } from "../errors.js";

/** A cluster that is to become a member, or was one. */
export interface MemberWay {
  readonly member: ApiClient;
  /** Of its API. */
  readonly server: string;
  readonly caPem?: string;
  readonly insecureSkipTlsVerify?: boolean;
}

/**
 * The way into a member by an administrator's kubeconfig, once it answers. Throws `InputError` for the file and `CommandError`, which names the member, where it does
 * not answer or lets nobody in: a command speaks with the hub as well.
 */
export async function wayInto(file: string, context: string | undefined): Promise<MemberWay> {
  const { transport } = await loadKubeconfig(file, context);
  const member = createClient({ transport: httpTransport(transport), clock: systemClock, random: systemRandom });
  try {
    await clusterIdentity(member);
  } catch (error) {
    await member.close();
    throw new CommandError(`the cluster of ${file} (${transport.server}): ${messageOf(error)}`);
  }
  const { server, caPem, insecureSkipTlsVerify } = transport;
  return {
    member,
    server,
    ...(caPem === undefined ? {} : { caPem }),
    ...(insecureSkipTlsVerify === undefined ? {} : { insecureSkipTlsVerify }),
  };
}
