import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { objectAt } from "../fields.js";
import { memoryJournal } from "../journal/memory.js";
import { openStore } from "../store/index.js";
import { parseRange } from "./address-pool.js";
import { renumberServices } from "./renumber.js";

test("Services of another range move to the same place in this one; the others stay as they are", async () => {
  const store = openStore({ journal: memoryJournal(), clock: virtualClock(0) });
  const services = {
    kubernetes: "198.19.7.1",
    web: "198.19.7.154",
    here: "198.19.9.20",
    overflow: "249.0.7.20",
    headless: "None",
    twin: "198.19.7.20",
  };
  for (const [name, clusterIP] of Object.entries(services)) {
    const spec = { clusterIP, clusterIPs: [clusterIP], ports: [{ port: 80 }] };
    await store.create(`//services/default/${name}`, { kind: "Service", metadata: { name }, spec });
  }

  const moved = await renumberServices(store, [parseRange("198.19.9.0/24"), parseRange("249.0.0.0/18")]);
  const addresses = Object.fromEntries(
    store.list("//services/").items.map(({ key, value }) => {
      const { clusterIP, clusterIPs } = objectAt(value, "spec");
      return [key.split("/").at(-1), JSON.stringify([clusterIP, clusterIPs])];
    }),
  );

  expect(moved.length).toBe(3);
  expect(addresses).toEqual({
    kubernetes: '["198.19.9.1",["198.19.9.1"]]',
    web: '["198.19.9.154",["198.19.9.154"]]',
    here: '["198.19.9.20",["198.19.9.20"]]',
    overflow: '["249.0.7.20",["249.0.7.20"]]',
    headless: '["None",["None"]]',
    twin: '["198.19.9.2",["198.19.9.2"]]',
  });
  expect(await renumberServices(store, [parseRange("198.19.9.0/24"), parseRange("249.0.0.0/18")])).toEqual([]);
});
