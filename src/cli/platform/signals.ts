/** How the process was asked to end: `stop` takes pods and gateway along, `leave` leaves them for the next start. */
export type EndRequest = "stop" | "leave";

const meanings = { SIGINT: "stop", SIGTERM: "stop", SIGUSR2: "leave" } as const;

/** Resolves at SIGINT, SIGTERM (stop) or SIGUSR2 (leave); a second signal ends it at once. */
export function untilSignal(): Promise<EndRequest> {
  return new Promise((resolve) => {
    const names = ["SIGINT", "SIGTERM", "SIGUSR2"] as const;
    const handlers = names.map((name) => ({
      name,
      handle: (): void => {
        for (const handler of handlers) {
          process.removeListener(handler.name, handler.handle);
          process.once(handler.name, () => process.exit(130));
        }
        resolve(meanings[name]);
      },
    }));
    for (const handler of handlers) {
      process.on(handler.name, handler.handle);
    }
  });
}
