import type { HostCall, HostReply } from "./messages.js";

/** What becomes of a host. After `ended` nothing more is said. */
export interface HostEvents {
  readonly replied: (reply: HostReply) => void;
  /** It is gone without having been asked to; `memory`: because it took too much. */
  readonly ended: (kind: "crash" | "memory", words: string) => void;
}

/** A thread or process in which one model runs. */
export interface Host {
  send(call: HostCall): void;
  /** Ends it whatever it is doing; `ended` is not told then. */
  kill(): void;
  /** Resident bytes where it is a process; 0: not known. */
  memoryBytes(): number;
}

/** Starts a host. */
export type OpenHost = (events: HostEvents) => Host;
