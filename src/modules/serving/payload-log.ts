/** A component's payload log as part of its pods: done by the built-in model server itself, by a forwarder beside servers of others. */
import type { JsonObject } from "../../kernel/kinds/index.js";
import { asObjects } from "../../kernel/schema/index.js";
import { builtInImage, isBuiltInServer, MODEL_SERVER_IMAGE } from "./images.js";
import { type Bundle, bundleParts, type FetchParts } from "./store-trust.js";

/** With what a store of logs is written. */
export interface LogCredentials {
  /** A key of a Secret that holds an `.s3cfg`, or an entry of `storage-config`. */
  readonly file?: { readonly secret: string; readonly key: string };
  /** AWS' variables from keys of Secrets. */
  readonly variables: readonly { readonly name: string; readonly secret: string; readonly key: string }[];
  /** Those that are no secrets. */
  readonly settings: Readonly<Record<string, string>>;
  /** Authorities that the store is trusted by, instead of the public ones. */
  readonly bundle?: Bundle | undefined;
}

/** What is to be logged of a component. */
export interface PayloadLogWish {
  /** Value of the model server's `--log-payloads`. */
  readonly settings: JsonObject;
  readonly credentials?: LogCredentials | undefined;
  /** Authorities that addresses, and a store whose credentials name none, are trusted by beside the public ones. */
  readonly trust?: Bundle | undefined;
  /** Requests and limits of the forwarder. */
  readonly resources?: JsonObject | undefined;
}

/** The container that logs for a server that is not Argosy's. */
export const FORWARDER = "payload-logger";
const FORWARDER_PORT = 9081;
const METRICS_PORT = 9088;
const STORE_VOLUME = "payload-log-store";
const STORE_FOLDER = "/var/run/argosy/payload-log";
/** Apart from those that the server itself may have. */
const VARIABLE_PREFIX = "PAYLOAD_LOG_";
const TRUST = { volume: "payload-log-trust", folder: "/etc/ssl/payload-log-trust" };
const S3_TRUST = { volume: "payload-log-ca-bundle", folder: "/etc/ssl/payload-log-certs" };
const RESOURCES = { requests: { cpu: "20m", memory: "96Mi" }, limits: { memory: "512Mi" } };

/** Adds a payload log to a pod, in place; `port` is where its server answers. Returns the port that requests go to from now on. */
export function addPayloadLog(
  pod: JsonObject,
  main: JsonObject,
  { port, isFront, wish }: { readonly port: number; readonly isFront: boolean; readonly wish: PayloadLogWish },
): number {
  const { credentials } = wish;
  const ofFile = credentials?.file;
  const settings = ofFile === undefined ? wish.settings : { ...wish.settings, s3cfg: `${STORE_FOLDER}/${ofFile.key}` };
  // Kubernetes would take a $(NAME) for a variable.
  const flag = `--log-payloads=${JSON.stringify(settings).replaceAll("$(", () => "$$(")}`;
  const trusted = trustedBy(wish);
  const mounts = [...trusted.mounts];
  const volumes = [...trusted.volumes];
  if (ofFile !== undefined) {
    volumes.push({ name: STORE_VOLUME, secret: { secretName: ofFile.secret, defaultMode: 0o444 } });
    mounts.push({ name: STORE_VOLUME, mountPath: STORE_FOLDER, readOnly: true });
  }
  if (volumes.length > 0) pod["volumes"] = [...asObjects(pod["volumes"]), ...volumes];
  const env = [...environmentOf(credentials), ...trusted.env];
  if (isFront && isBuiltInServer(main)) {
    main["args"] = [...(Array.isArray(main["args"]) ? main["args"] : []), flag];
    if (env.length > 0) main["env"] = [...asObjects(main["env"]), ...env];
    if (mounts.length > 0) main["volumeMounts"] = [...asObjects(main["volumeMounts"]), ...mounts];
    return port;
  }
  const address = {
    name: "ARGOSY_MODEL_SERVER_HOST",
    valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "status.podIP" } },
  };
  const forwarder: JsonObject = {
    name: FORWARDER,
    image: builtInImage(main) ?? MODEL_SERVER_IMAGE,
    imagePullPolicy: "IfNotPresent",
    args: [
      ...["--forward-to", `$(${address.name}):${port}`, `--http=${FORWARDER_PORT}`, `--metrics=${METRICS_PORT}`],
      flag,
    ],
    env: [address, ...env],
    ports: [
      { name: "logged", containerPort: FORWARDER_PORT, protocol: "TCP" },
      { name: "log-metrics", containerPort: METRICS_PORT, protocol: "TCP" },
    ],
    readinessProbe: { tcpSocket: { port: FORWARDER_PORT }, periodSeconds: 2, failureThreshold: 3 },
    resources: wish.resources ?? RESOURCES,
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...(mounts.length > 0 ? { volumeMounts: mounts } : {}),
  };
  pod["containers"] = [...asObjects(pod["containers"]), forwarder];
  return FORWARDER_PORT;
}

function trustedBy({ credentials, trust }: PayloadLogWish): FetchParts {
  const parts = [
    ...(trust === undefined ? [] : [bundleParts(trust, { ...TRUST, variable: `${VARIABLE_PREFIX}ARGOSY_CA_BUNDLE` })]),
    ...(credentials?.bundle === undefined
      ? []
      : [bundleParts(credentials.bundle, { ...S3_TRUST, variable: `${VARIABLE_PREFIX}AWS_CA_BUNDLE` })]),
  ];
  return {
    env: parts.flatMap(({ env }) => env),
    mounts: parts.flatMap(({ mounts }) => mounts),
    volumes: parts.flatMap(({ volumes }) => volumes),
  };
}

function environmentOf(credentials: LogCredentials | undefined): JsonObject[] {
  const { variables = [], settings = {} } = credentials ?? {};
  return [
    ...variables.map(({ name, secret, key }) => ({
      name: `${VARIABLE_PREFIX}${name}`,
      valueFrom: { secretKeyRef: { name: secret, key } },
    })),
    ...Object.entries(settings).map(([name, value]) => ({ name: `${VARIABLE_PREFIX}${name}`, value })),
  ];
}
