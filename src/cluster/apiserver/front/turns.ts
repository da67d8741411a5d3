import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/**
 * Answers leave a connection over HTTP/1.1 in the order of their requests. Node sees to that, but not for what it leaves to others:
 * upgrades, and the word to go on.
 */
const due = new WeakMap<object, Set<ServerResponse>>();

/** To be told of every request, as it comes. */
export function noteDue(socket: object, response: ServerResponse): void {
  const answers = due.get(socket) ?? new Set();
  due.set(socket, answers);
  answers.add(response);
  response.once("close", () => answers.delete(response));
}

/** Resolves when the answers to all that came before on a connection are out; never, when it ends before that. */
export async function answersOut(socket: Duplex): Promise<void> {
  const answers = due.get(socket);
  if (answers === undefined || answers.size === 0) return;
  // Node's own listener is gone with the upgrade.
  const onDrain = (): void => {
    for (const answer of answers) if (answer.socket !== null) answer.emit("drain");
  };
  socket.on("drain", onDrain);
  for (const answer of answers) if (!answer.closed) await new Promise((resolve) => answer.once("close", resolve));
  socket.off("drain", onDrain);
}

/** Says that the body may come, and calls `go`, when it is this answer's turn: node would say it within the one before. */
export function continueInTurn(response: ServerResponse, go: () => void): void {
  const proceed = (): void => {
    response.writeContinue();
    go();
  };
  if (response.socket !== null) proceed();
  else response.once("socket", proceed);
}
