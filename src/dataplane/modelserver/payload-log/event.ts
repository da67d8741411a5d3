/** What is logged: events of one request and of one answer, and how they look as CloudEvents and as records. */
import { createHash } from "node:crypto";
import { headerText } from "../cloudevents.js";
import type { PayloadLogSettings } from "./settings.js";

/** A request or an answer that was seen. */
export interface PayloadEvent {
  readonly kind: "request" | "response";
  /** The same for a request and its answer. */
  readonly id: string;
  /** What a file is called after, as no other one is; absent: the id. */
  readonly fileId?: string;
  /** Milliseconds since the epoch: when it was whole. */
  readonly timeMs: number;
  /** Its own media type; absent: it had none. */
  readonly type: string | undefined;
  readonly coding: string | undefined;
  readonly body: string | Uint8Array;
  /** A body that is a text has a byte in each character, rather than being UTF-8. */
  readonly isLatin1: boolean;
  /** What it holds in memory, about. */
  readonly bytes: number;
  readonly metadata: Readonly<Record<string, readonly string[]>>;
  readonly traceparent: string | undefined;
  /** Of the answer; gRPC's is its code, from 0. */
  readonly status: { readonly http: number } | { readonly grpc: number } | undefined;
  /** The end is missing: a client that went away, a stream that broke off. */
  readonly isCut: boolean;
}

/** An event's body as bytes. */
export const bytesOf = ({ body, isLatin1 }: Pick<PayloadEvent, "body" | "isLatin1">): Buffer =>
  typeof body === "string" ? Buffer.from(body, isLatin1 ? "latin1" : "utf8") : Buffer.from(body);

/** Overhead of an event beside its body. */
export const EVENT_BYTES = 512;

const TYPES = {
  kserve: "org.kubeflow.serving.inference",
  mlservice: "tensorstack.dev.mlservice",
} as const;

/** `ce-type` of an event. */
export const typeOf = ({ dialect }: PayloadLogSettings, { kind }: Pick<PayloadEvent, "kind">): string =>
  `${TYPES[dialect]}.${kind}`;

/** Head lines that all events of a log have, in CloudEvents' binary mode. */
function commonLines({
  service,
  namespace,
  component,
  endpoint,
  inferenceUrl,
  annotations,
  dialect,
  source,
}: PayloadLogSettings): string {
  return lines({
    ...{ specversion: "1.0", source, namespace, component },
    ...(dialect === "kserve"
      ? { inferenceservicename: service, endpoint }
      : { mlservicename: service, inferenceurl: inferenceUrl }),
    annotations: Object.keys(annotations).length === 0 ? "" : JSON.stringify(annotations),
  });
}

/** Attributes without a value are left out. */
function lines(attributes: Readonly<Record<string, string>>): string {
  let text = "";
  for (const [name, value] of Object.entries(attributes))
    if (value !== "") text += `ce-${name}: ${headerText(value)}\r\n`;
  return text;
}

/** Writes the head lines of events' posts, with their ends, in ASCII. */
export function eventHeads(settings: PayloadLogSettings): (event: PayloadEvent) => string {
  const common = commonLines(settings);
  const types = {
    request: lines({ type: typeOf(settings, { kind: "request" }) }),
    response: lines({ type: typeOf(settings, { kind: "response" }) }),
  };
  const isAlways = settings.dialect === "kserve";
  return ({ kind, id, timeMs, metadata, traceparent, status, isCut, type, coding }) => {
    const time = new Date(timeMs).toISOString();
    let head = `${common}${types[kind]}ce-id: ${headerText(id)}\r\nce-time: ${time}\r\nce-recordedtime: ${time}\r\n`;
    const words = JSON.stringify(metadata);
    if (isAlways || words !== "{}") head += `ce-metadata: ${headerText(words)}\r\n`;
    if (traceparent !== undefined) head += `ce-traceparent: ${headerText(traceparent)}\r\n`;
    if (status !== undefined)
      head += "http" in status ? `ce-statuscode: ${status.http}\r\n` : `ce-grpcstatus: ${status.grpc}\r\n`;
    if (isCut) head += "ce-truncated: true\r\n";
    if (type !== undefined) head += `content-type: ${plain(type)}\r\n`;
    if (coding !== undefined) head += `content-encoding: ${plain(coding)}\r\n`;
    return head;
  };
}

/** Nothing that could end a line. */
const plain = (value: string): string => value.replaceAll(/[^\x20-\x7e]/g, "?");

/** An event as KServe writes it into files, and sends it to marshallers. */
export interface PayloadRecord {
  readonly Url: object;
  /** Base64. */
  readonly Bytes: string;
  readonly ContentType: string;
  readonly ReqType: string;
  readonly Id: string;
  readonly SourceUri: object;
  readonly InferenceService: string;
  readonly Namespace: string;
  readonly Component: string;
  readonly Endpoint: string;
  readonly Metadata: Readonly<Record<string, readonly string[]>>;
  readonly Annotations: Readonly<Record<string, string>>;
  readonly CertName: string;
  readonly TlsSkipVerify: boolean;
}

/** An event as a record; `url` is where it goes to. */
export function recordOf(settings: PayloadLogSettings, event: PayloadEvent, url: string): PayloadRecord {
  return {
    Url: partsOf(url),
    Bytes: bytesOf(event).toString("base64"),
    ContentType: event.type ?? "",
    ReqType: typeOf(settings, event),
    Id: event.id,
    SourceUri: { Path: settings.source },
    InferenceService: settings.service,
    Namespace: settings.namespace,
    Component: settings.component,
    Endpoint: settings.endpoint,
    Metadata: event.metadata,
    Annotations: settings.annotations,
    CertName: "",
    TlsSkipVerify: false,
  };
}

function partsOf(url: string): object {
  const { protocol, host, pathname } = new URL(url);
  return { Scheme: protocol.slice(0, -1), Host: host, Path: pathname };
}

/** A file of records: JSON of one or a list of several, or CSV with a head line. */
export function writeRecords(
  settings: PayloadLogSettings,
  events: readonly PayloadEvent[],
  url: string,
): { readonly data: Buffer; readonly type: string } {
  const records = events.map((event) => recordOf(settings, event, url));
  if (settings.format === "json")
    return {
      data: Buffer.from(JSON.stringify(records.length === 1 ? records[0] : records)),
      type: "application/json",
    };
  const head =
    "url,bytes,contentType,reqType,id,sourceUri,inferenceService,namespace,component,endpoint,metadata,annotations,certName,tlsSkipVerify";
  const lines = records.map((record) =>
    [
      ...[url, record.Bytes, record.ContentType, record.ReqType, record.Id, settings.source],
      ...[record.InferenceService, record.Namespace, record.Component, record.Endpoint],
      ...[JSON.stringify(record.Metadata), JSON.stringify(record.Annotations), record.CertName, "false"],
    ]
      .map(quoted)
      .join(","),
  );
  return { data: Buffer.from(`${[head, ...lines].join("\n")}\n`), type: "text/csv" };
}

const quoted = (value: string): string => (/[",\r\n]|^\s/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/** File systems have names of 255 bytes. */
const MAX_ID = 200;
const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Key of a file: `prefix/namespace/service/component/path/id-kind.ext`; it is called after the newest event in it. */
export function keyOf(settings: PayloadLogSettings, prefix: string, newest: PayloadEvent, extension: string): string {
  const { namespace, service, component, path } = settings;
  const parts = [prefix, namespace, service, component, path].flatMap((part) => part.split("/"));
  const folder = parts.filter((part) => part !== "" && part !== "." && part !== "..");
  // Clients choose ids: what could lead elsewhere is written out, and what is too long for a file's name is shortened.
  const called = newest.fileId ?? newest.id;
  const written = encodeURIComponent(called).replaceAll(/^\.+/g, (dots) => "_".repeat(dots.length));
  const id = written.length <= MAX_ID ? written : `${written.slice(0, MAX_ID - 65)}-${hashOf(called)}`;
  return [...folder, `${id}-${newest.kind}.${extension}`].join("/");
}

const SECRET =
  /^(?:authorization|proxy-authorization|cookie|set-cookie|.*(?:token|secret|password|api-?key|credential).*)$/;

/** The headers that go along; what holds credentials is there without its value. */
export function metadataOf(
  names: readonly string[],
  header: (name: string) => string | undefined,
): Record<string, readonly string[]> {
  const found: Record<string, readonly string[]> = {};
  for (const name of names) {
    const lower = name.toLowerCase();
    const value = header(lower);
    if (value !== undefined) found[name] = [SECRET.test(lower) ? "[redacted]" : value];
  }
  return found;
}
