/** What is logged of requests and answers, and where to: the value of `--log-payloads`. */
import { InputError } from "../../../kernel/errors/index.js";
import { asObject, isObject, parseJson } from "../../../kernel/schema/index.js";

/** Which events are made. */
export type PayloadMode = "all" | "request" | "response";
/** How records lie in files. */
export type RecordFormat = "json" | "csv";

/** Settings of a payload log. */
export interface PayloadLogSettings {
  /** `http://`, `https://` (an event each), `s3://bucket/prefix`, `file:///folder` (files of records). Each gets everything. */
  readonly urls: readonly string[];
  readonly mode: PayloadMode;
  /** Whose event types and attributes: KServe's, or TensorStack's MLService's. */
  readonly dialect: "kserve" | "mlservice";
  /** Name of the InferenceService or MLService. */
  readonly service: string;
  readonly namespace: string;
  /** `predictor`, `transformer` or `explainer`. */
  readonly component: string;
  /** `ce-source`. */
  readonly source: string;
  /** KServe's `endpoint`: `default`, or the name of a predictor. */
  readonly endpoint: string;
  /** MLService's `inferenceurl`. */
  readonly inferenceUrl: string;
  /** Headers of requests that go along; those that hold credentials go without their value. */
  readonly headers: readonly string[];
  /** Annotations that go along. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Folder of files, below prefix, namespace, service and component. */
  readonly path: string;
  readonly format: RecordFormat;
  /** Makes files of records in place of `format`. */
  readonly marshallerUrl: string | undefined;
  /** Records of a file. */
  readonly batchSize: number;
  /** Longest wait for a full file, milliseconds; 0: until it is full. */
  readonly batchIntervalMs: number;
  /** An `.s3cfg`, or an entry of `storage-config`, with address and keys of the store; absent: AWS' variables. */
  readonly s3cfg: string | undefined;
  /** Most that waits to be delivered, for each address; what is oldest is dropped. */
  readonly maxEvents: number;
  readonly maxBytes: number;
}

const TEXTS = {
  service: "",
  namespace: "",
  component: "predictor",
  source: "argosy-model-server",
  endpoint: "default",
  inferenceUrl: "",
  path: "",
} as const;
const NUMBERS = {
  batchSize: { least: 1, most: 10_000, usual: 1 },
  batchIntervalMs: { least: 0, most: 86_400_000, usual: 0 },
  maxEvents: { least: 1, most: 1_000_000, usual: 4096 },
  maxBytes: { least: 1024, most: 2 ** 32, usual: 32 * 2 ** 20 },
} as const;
const OTHERS = ["urls", "mode", "dialect", "headers", "annotations", "format", "marshallerUrl", "s3cfg"];
const SCHEMES = ["http:", "https:", "s3:", "file:"];
const FLAG = "--log-payloads";

const refuse = (what: string): never => {
  throw new InputError(`${FLAG}: ${what}`);
};

/** Reads the settings, JSON. Throws `InputError` that names the member. */
export function readPayloadLog(text: string): PayloadLogSettings {
  const given = parseJson(text);
  if (!isObject(given)) return refuse("expected an object in JSON");
  const known = [...Object.keys(TEXTS), ...Object.keys(NUMBERS), ...OTHERS];
  const other = Object.keys(given).find((name) => !known.includes(name));
  if (other !== undefined) refuse(`there is no ${other.slice(0, 60)}; there are ${known.join(", ")}`);
  const textOf = (name: keyof typeof TEXTS): string => optionalText(given, name) ?? TEXTS[name];
  const numberOf = (name: keyof typeof NUMBERS): number => {
    const { least, most, usual } = NUMBERS[name];
    const value = given[name] ?? usual;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most)
      return refuse(`${name} must be a whole number from ${least} to ${most}`);
    return value;
  };
  const marshallerUrl = optionalText(given, "marshallerUrl");
  if (marshallerUrl !== undefined && !/^https?:/.test(urlOf(marshallerUrl, "marshallerUrl").protocol))
    refuse("marshallerUrl must be http:// or https://");
  return {
    urls: urlsIn(given["urls"]),
    mode: choiceOf(given, "mode", ["all", "request", "response"]),
    dialect: choiceOf(given, "dialect", ["kserve", "mlservice"]),
    service: textOf("service"),
    namespace: textOf("namespace"),
    component: textOf("component"),
    source: textOf("source"),
    endpoint: textOf("endpoint"),
    inferenceUrl: textOf("inferenceUrl"),
    path: textOf("path"),
    headers: textsIn(given["headers"] ?? [], "headers"),
    annotations: mapOf(given["annotations"]),
    format: choiceOf(given, "format", ["json", "csv"]),
    marshallerUrl,
    batchSize: numberOf("batchSize"),
    batchIntervalMs: numberOf("batchIntervalMs"),
    s3cfg: optionalText(given, "s3cfg"),
    maxEvents: numberOf("maxEvents"),
    maxBytes: numberOf("maxBytes"),
  };
}

const PREFIX = "PAYLOAD_LOG_";

/** The variables that are for the log, where there are any; otherwise everybody's. */
export function logVariables(env: Readonly<Record<string, string | undefined>>): typeof env {
  const own = Object.entries(env).filter(([name]) => name.startsWith(PREFIX));
  return own.length === 0 ? env : Object.fromEntries(own.map(([name, value]) => [name.slice(PREFIX.length), value]));
}

/** An address as it may be shown: without user, password and query. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return "";
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === "/" ? "" : pathname}`;
}

function urlsIn(value: unknown): string[] {
  const urls = textsIn(value ?? [], "urls");
  if (urls.length === 0) refuse("urls must name where to log to");
  for (const [index, url] of urls.entries()) {
    const { protocol, host } = urlOf(url, `urls[${index}]`);
    if (protocol === "file:" && host !== "") refuse(`urls[${index}] names the host ${host}; write file:///FOLDER`);
    if (!SCHEMES.includes(protocol))
      refuse(`urls[${index}] begins with ${protocol}//; there are http, https, s3 and file`);
    if (host === "" && protocol !== "file:") refuse(`urls[${index}] names no host or bucket`);
  }
  return urls;
}

function urlOf(text: string, name: string): URL {
  // What it holds may be secret.
  if (!URL.canParse(text)) return refuse(`${name} is no URL`);
  const url = new URL(text);
  if (!isDecodable(url.pathname) || !isDecodable(`${url.username}${url.password}`))
    refuse(`${name} has a % that is none of an encoding`);
  if (url.protocol === "file:" && /%2f|%00/i.test(url.pathname)) refuse(`${name} is no path`);
  return url;
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function optionalText(given: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = given[name];
  return value === undefined || typeof value === "string" ? value : refuse(`${name} must be a text`);
}

function textsIn(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) return refuse(`${name} must be a list of texts`);
  return value.map((item: unknown) => (typeof item === "string" ? item : refuse(`${name} must be a list of texts`)));
}

function mapOf(value: unknown): Record<string, string> {
  if (value !== undefined && !isObject(value)) return refuse("annotations must be an object of texts");
  return Object.fromEntries(
    Object.entries(asObject(value)).map(([name, text]) => [
      name,
      typeof text === "string" ? text : refuse(`annotations.${name} must be a text`),
    ]),
  );
}

/** One of a few words; the first where nothing is said. */
function choiceOf<const T extends string>(
  given: Readonly<Record<string, unknown>>,
  name: string,
  choices: readonly [T, ...T[]],
): T {
  const value = given[name];
  if (value === undefined) return choices[0];
  return choices.find((choice) => choice === value) ?? refuse(`${name} must be one of ${choices.join(", ")}`);
}
