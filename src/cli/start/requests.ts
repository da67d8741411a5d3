import { Pool } from "undici";
import { loadDigits, type Samples, splitDigits } from "../../../examples/digits/data.js";
import { asObjects } from "../../kernel/schema/index.js";
import { CommandError } from "../errors.js";
import { parseJsonObject } from "../manifest/json.js";

/** What came back of the requests. */
export interface RequestOutcome {
  readonly sent: number;
  /** Answers by member. */
  readonly byMember: Readonly<Record<string, number>>;
  readonly failed: number;
  /** Share of right predictions among the answers. */
  readonly accuracy: number;
  /** A few failures, for people. */
  readonly failures: readonly string[];
}

const memberHeader = "x-argosy-backend";

/** Sends `count` held-out rows (the same split as the training program's; repeated from the start when there are fewer) as V2 inference requests. */
export async function sendRows(url: string, count: number, progress: (sent: number) => void): Promise<RequestOutcome> {
  const { test } = splitDigits(await loadDigits());
  const target = new URL(`${url}/v2/models/digits/infer`);
  const pool = new Pool(target.origin, { connections: 8 });
  const byMember: Record<string, number> = {};
  const failures: string[] = [];
  let next = 0;
  let right = 0;
  let answered = 0;
  let failed = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const row = index % test.count;
      try {
        const { member, label } = await predict(pool, target.pathname, test, row);
        byMember[member] = (byMember[member] ?? 0) + 1;
        answered += 1;
        right += label === test.labels[row] ? 1 : 0;
      } catch (error) {
        failed += 1;
        failures.push(error instanceof Error ? error.message : String(error));
      }
      progress(answered + failed);
    }
  };
  try {
    await Promise.all(Array.from({ length: 8 }, worker));
  } finally {
    await pool.close();
  }
  return {
    sent: count,
    byMember,
    failed,
    accuracy: answered === 0 ? 0 : right / answered,
    failures: failures.slice(0, 3),
  };
}

async function predict(
  pool: Pool,
  path: string,
  samples: Samples,
  row: number,
): Promise<{ member: string; label: number }> {
  const width = samples.pixels.length / samples.count;
  const data = Array.from(samples.pixels.subarray(row * width, (row + 1) * width));
  const answer = await pool.request({
    method: "POST",
    path,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: [{ name: "input", datatype: "FP32", shape: [1, width], data }] }),
    headersTimeout: 10_000,
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) {
    throw new CommandError(`the ingress answered ${answer.statusCode}: ${text.slice(0, 300)}`);
  }
  const outputs = asObjects(parseJsonObject(JSON.parse(text))?.["outputs"]);
  const label = outputs.find((output) => output["name"] === "label")?.["data"];
  if (!Array.isArray(label) || typeof label[0] !== "number") {
    throw new CommandError(`an answer without a label: ${text.slice(0, 300)}`);
  }
  const member = answer.headers[memberHeader];
  return { member: typeof member === "string" ? member : "unknown", label: label[0] };
}
