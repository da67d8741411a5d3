import type { Agent } from "node:https";
import { unavailable } from "../failures.js";
import { type NodeCredentials, nodeAgentPool } from "./node-connection.js";

/** The connections to node agents; made at first use, and anew when the credentials are renewed. */
export interface NodeAgents {
  /** Throws 503 while the server has no credentials for nodes. */
  pool(): Agent;
  close(): void;
}

/** `credentials` is asked at each use; other ones than before open new connections, those in use go on. */
export function nodeAgents(credentials: () => NodeCredentials | undefined): NodeAgents {
  let current: { readonly id: string; readonly agent: Agent } | undefined;
  const all = new Set<Agent>();
  return {
    pool() {
      const wanted = credentials();
      if (wanted === undefined) throw unavailable("this server has no credentials for node agents");
      const id = wanted.caPem + wanted.clientCertPem;
      if (current?.id !== id) {
        if (current !== undefined) closeIdle(current.agent);
        current = { id, agent: nodeAgentPool(wanted) };
        all.add(current.agent);
      }
      return current.agent;
    },
    close() {
      for (const agent of all) agent.destroy();
      all.clear();
      current = undefined;
    },
  };
}

function closeIdle(agent: Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}
