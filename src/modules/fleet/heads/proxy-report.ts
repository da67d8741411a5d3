import { request } from "undici";
import type { BackendReport } from "../../../dataplane/gateway/index.js";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../../../kernel/schema/index.js";
import type { PlannedBackend } from "../head-weights.js";
import type { ConditionDraft, HeadIngress } from "../kinds.js";
import type { RenderedClass } from "./applier.js";
import { assumedReport } from "./conditions.js";
import { wordOf } from "./rendering.js";

const TIMEOUT_MS = 2000;
const MAX_BYTES = 16 * 1024 * 1024;

/** What the program that carries a HeadIngress tells of it. */
export interface ProxyReport {
  readonly condition: ConditionDraft;
  /** Each backend as the program has it; absent: it does not tell of backends. */
  readonly backends?: ReadonlyMap<string, BackendReport>;
  /** Requests a second. */
  readonly rate?: number;
  /** Whoever is to carry what was applied refuses it. */
  readonly refusal?: string;
}

/** Reads a text over HTTP. Throws what went wrong. */
export type ReadText = (url: string) => Promise<string>;

/** `ReadText` with bounds on time and size. */
export const readText: ReadText = async (url) => {
  const answer = await request(url, { headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of answer.body) {
    const bytes = Buffer.from(piece);
    size += bytes.length;
    if (size > MAX_BYTES) throw new ArgosyError("TooLong", `the answer is longer than ${MAX_BYTES} bytes`);
    pieces.push(bytes);
  }
  if (answer.statusCode !== 200) throw new ArgosyError("BadStatus", `it answered ${answer.statusCode}`);
  return Buffer.concat(pieces).toString("utf8");
};

const observed = (status: ConditionDraft["status"], reason: string, message: string): ConditionDraft => ({
  type: "Observed",
  status,
  reason,
  message,
});

/** Reads what the program that a HeadIngress is rendered for tells; says in a condition what it does not. Never throws. */
export async function reportOf(
  kind: RenderedClass,
  head: HeadIngress,
  seen: {
    readonly routeId: string;
    readonly plan: readonly PlannedBackend[];
    /** What was applied, as it is there now. */
    readonly objects: readonly JsonObject[];
    readonly read: ReadText;
  },
): Promise<ProxyReport> {
  if (kind === "istio" || kind === "gateway-api") return told(kind, seen.objects);
  const url = head.spec.rendering?.report?.url;
  if (url === undefined)
    return {
      condition: observed(
        "Unknown",
        "NotAsked",
        `whether backends answer ${kind}, and its load, are not known here: spec.rendering.report says where it tells them`,
      ),
    };
  try {
    const base = url.replace(/\/+$/, "");
    if (kind === "nginx") return fromNginx(await seen.read(`${base}/status`));
    return fromHaproxy(await seen.read(`${base}/;csv`), seen.routeId, seen.plan);
  } catch (error) {
    return { condition: observed("Unknown", "NotAnswering", `${kind} does not tell at ${url}: ${messageOf(error)}`) };
  }
}

/** nginx counts in sum only. */
function fromNginx(text: string): ProxyReport {
  const active = /^Active connections: (\d+)/.exec(text)?.[1];
  const requests = /\n\s*\d+ \d+ (\d+)/.exec(text)?.[1];
  if (active === undefined || requests === undefined)
    return { condition: observed("Unknown", "NotUnderstood", "what nginx answered is not its stub_status") };
  const message = `nginx runs: ${active} connections, ${requests} requests of all HeadIngresses since it began; which backends answer it, and which requests are this one's, it does not tell`;
  return { condition: observed("Unknown", "TotalsOnly", message) };
}

/** One line of haproxy's statistics, by the names of its columns. */
type Row = Readonly<Record<string, string>>;

function rowsOf(text: string): Row[] {
  const [head = "", ...lines] = text.split("\n");
  const names = head.replace(/^#\s*/, "").split(",");
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      // Descriptions of checks may be quoted; nothing that is read here comes after them but texts.
      const values = line.match(/("([^"]|"")*"|[^,]*)(,|$)/g) ?? [];
      return Object.fromEntries(
        names.map((name, index) => [name, (values[index] ?? "").replace(/,$/, "").replace(/^"|"$/g, "")]),
      );
    });
}

function fromHaproxy(text: string, routeId: string, plan: readonly PlannedBackend[]): ProxyReport {
  const rows = rowsOf(text);
  const own = rows.filter((row) => row["pxname"] === `b_${wordOf(routeId)}`);
  if (own.length === 0)
    return {
      condition: observed(
        "Unknown",
        "NotLoaded",
        "haproxy runs and does not know this route: it has not taken the configuration over yet",
      ),
    };
  const states = new Map(plan.map((backend) => [backend.name, stateOf(own, backend)]));
  // Weights and standing by are as haproxy's: among those that are up.
  const up = plan.map((backend) =>
    states.get(backend.name)?.isUp === true ? backend : { ...backend, weightGiven: 0 },
  );
  const backends = new Map(
    up.map((backend): [string, BackendReport] => {
      const { isUp = false, message = "", requests = 0, failures = 0 } = states.get(backend.name) ?? {};
      const report = assumedReport(backend, up);
      return [
        backend.name,
        { ...report, requests, failures, healthy: isUp, ...(isUp ? {} : { reason: message, word: "" }) },
      ];
    }),
  );
  const rate = sum(
    own.filter((row) => row["svname"] === "BACKEND"),
    "rate",
  );
  const down = [...states].filter(([, { isUp }]) => !isUp).map(([name]) => name);
  const message = `haproxy tells of each backend${down.length === 0 ? "" : `; not up: ${down.join(", ")}`}`;
  return { condition: observed("True", "Told", message), backends, rate };
}

function stateOf(rows: readonly Row[], { name, host }: PlannedBackend) {
  const own = rows.filter(({ svname = "" }) => svname === name || svname === host || isNumbered(svname, name));
  const up = own.filter(({ status = "" }) => status.startsWith("UP") || status === "no check" || status === "DRAIN");
  const [first] = own;
  const words = [first?.["status"], first?.["check_desc"], first?.["last_chk"]].filter((word = "") => word !== "");
  return {
    isUp: up.length > 0,
    message: first === undefined ? "haproxy has no server for it" : `haproxy says ${words.join(": ")}`,
    requests: sum(own, "stot"),
    failures: sum(own, "econ") + sum(own, "eresp"),
  };
}

const isNumbered = (svname: string, name: string): boolean =>
  svname.startsWith(`${name}-`) && /^\d+$/.test(svname.slice(name.length + 1));

function sum(rows: readonly Row[], column: string): number {
  return rows.reduce((total, row) => total + (Number(row[column]) || 0), 0);
}

/** What controllers of Istio and of the Gateway API say of objects. */
function told(kind: "istio" | "gateway-api", objects: readonly JsonObject[]): ProxyReport {
  const name = ({ kind: what, metadata }: JsonObject): string =>
    `${asString(what)} ${asString(asObject(metadata)["name"])}`;
  const said = objects.flatMap((object) => {
    const status = asObject(object["status"]);
    const parents = asObjects(status["parents"]).flatMap((parent) =>
      asObjects(parent["conditions"]).map((condition) => ({
        condition,
        by: `Gateway ${asString(asObject(parent["parentRef"])["name"])}`,
      })),
    );
    const own = asObjects(status["conditions"]).map((condition) => ({ condition, by: "its controller" }));
    return [...parents, ...own].map(({ condition, by }) => ({ condition, by, about: name(object) }));
  });
  const nothing = "whether backends answer, and the load, are not known here";
  if (said.length === 0)
    return {
      condition: observed("Unknown", "NotTold", `no controller has said anything of what was applied; ${nothing}`),
    };
  const text = ({ condition, by, about }: (typeof said)[number]): string => {
    const why = [condition["reason"], condition["message"]]
      .map(asString)
      .filter((word) => word !== "")
      .join(": ");
    return `${about}: ${by} says ${asString(condition["type"])} ${asString(condition["status"])}${why === "" ? "" : ` (${why})`}`;
  };
  // Of Istio's analysis and of the Gateway API: True is good.
  const bad = said.filter(({ condition }) => condition["status"] === "False");
  if (bad.length === 0) return { condition: observed("True", "Accepted", `${said.map(text).join("; ")}; ${nothing}`) };
  const message = bad.map(text).join("; ");
  const isRefused = bad.some(({ condition }) => condition["type"] === "Accepted");
  return {
    condition: observed("False", "Refused", message),
    ...(isRefused && kind === "gateway-api" ? { refusal: message } : {}),
  };
}
