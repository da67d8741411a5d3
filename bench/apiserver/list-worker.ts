/** Lists one path over and over on a connection of its own, and says so after each time. Ends with its thread. */
import { parentPort, workerData } from "node:worker_threads";
import { type Address, Connection } from "./connection.js";

const { address, path } = workerData as { readonly address: Address; readonly path: string };
const connection = await Connection.open(address);
for (;;) {
  await connection.send("GET", path);
  parentPort?.postMessage("listed");
}
