import type { Agent } from "node:https";
import { unavailable } from "../failures.js";
import { type NodeCredentials, nodeAgentPool } from "./node-connection.js";

/** The connections to node agents; made at first use, and anew when the credentials are renewed. */
export interface NodeAgents {
  /** Throws 503 while the server has no credentials for nodes. */
  pool(): Agent;
  close(): void;
}

/** `credentials` is asked at each use; a new value opens new connections. */
export function nodeAgents(credentials: () => NodeCredentials | undefined): NodeAgents {
  let current: { readonly of: NodeCredentials; readonly agent: Agent } | undefined;
  return {
    pool() {
      const wanted = credentials();
      if (wanted === undefined) throw unavailable("this server has no credentials for node agents");
      if (current?.of !== wanted) {
        current?.agent.destroy();
        current = { of: wanted, agent: nodeAgentPool(wanted) };
      }
      return current.agent;
    },
    close() {
      current?.agent.destroy();
      current = undefined;
    },
  };
}
