import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { closers, fetchOptions } from "../storage/stores.fixture.js";
import type { PayloadEvent } from "./event.js";
import { readPayloadLog } from "./settings.js";
import { createSink } from "./sinks.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const event: PayloadEvent = {
  ...{ kind: "request", id: "1", timeMs: 0, type: "application/json", coding: undefined, body: "{}", isLatin1: false },
  ...{ bytes: 2, metadata: {}, traceparent: undefined, status: undefined, isCut: false },
};

test.each(["PAYLOAD_LOG_ARGOSY_CA_BUNDLE", "ARGOSY_CA_BUNDLE"])(
  "an address is trusted by the bundle that %s names, as it is when a connection is made",
  async (variable) => {
    const authority = await createAuthority({ name: "theirs", clock: systemClock });
    const { certPem: cert, keyPem: key } = await authority.issueServer(["127.0.0.1"]);
    const server = createServer({ cert, key }, (_request, response) => response.writeHead(202).end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    const address = server.address();
    const url = `https://127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}/events`;
    const { folder } = await fetchOptions("");
    const bundle = join(folder, "cabundle.crt");
    const settings = readPayloadLog(JSON.stringify({ urls: [url] }));
    const sink = createSink(url, { settings, clock: systemClock, env: { [variable]: bundle } });
    closers.push(() => sink.close());

    await expect(sink.deliver([event])).rejects.toThrow("ARGOSY_CA_BUNDLE");
    await writeFile(bundle, (await createAuthority({ name: "other", clock: systemClock })).caPem);
    await expect(sink.deliver([event])).rejects.toMatchObject({ mayPass: true });
    await writeFile(bundle, authority.caPem);
    await sink.deliver([event]);
  },
);
