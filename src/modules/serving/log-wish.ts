/** An MLService's `logger`, as settings of a payload log. */
import type { JsonObject } from "../../kernel/kinds/index.js";
import { toJsonObject } from "../../kernel/schema/index.js";
import type { MLService, Transformer } from "./kinds.js";
import type { PayloadLogWish } from "./payload-log.js";
import type { Bundle } from "./store-trust.js";

/** What is logged of whom. */
export interface LoggedPods {
  readonly component: "predictor" | "transformer";
  /** Of a release; absent for the transformer. */
  readonly release?: string;
  /** Address that the requests are sent to. */
  readonly url: string;
  /** Authorities that addresses of `https://` are trusted by beside the public ones. */
  readonly trust?: Bundle | undefined;
}

const isAddress = (url: string): boolean => /^https?:\/\/[^/]/.test(url) && URL.canParse(url);

/** What a logger comes down to; `undefined` where there is none, or none that can be carried out. */
export function logWishOf(
  { metadata }: MLService,
  logger: Transformer["logger"],
  { component, release, url, trust }: LoggedPods,
): PayloadLogWish | undefined {
  const urls = (logger?.urls ?? []).filter(isAddress);
  if (logger === undefined || urls.length === 0) return undefined;
  const settings: JsonObject = {
    ...{ urls, mode: logger.mode, dialect: "mlservice", component, inferenceUrl: url },
    ...{ service: metadata.name, namespace: metadata.namespace ?? "" },
    source: [metadata.name, component, ...(release === undefined ? [] : [release])].join("-"),
  };
  return {
    settings,
    ...(urls.some((one) => /^https:/i.test(one)) ? { trust } : {}),
    ...(logger.resources === undefined ? {} : { resources: toJsonObject(logger.resources) }),
  };
}

/** Parts of a logger without effect, each with what happens instead; `isBuiltIn`: the model server logs by itself. */
export function ignoredInLogger(logger: Transformer["logger"], isBuiltIn: boolean): string[] {
  if (logger === undefined) return [];
  const { urls = [], resources } = logger;
  const others = urls.filter((url) => !isAddress(url));
  return [
    ...(urls.length === 0 ? ["logger (it names no urls, and there is no default one here)"] : []),
    ...others.map((url) => `logger.urls ${url.slice(0, 100)} (addresses are http:// or https://)`),
    ...(resources !== undefined && isBuiltIn ? ["logger.resources (the model server logs by itself)"] : []),
  ];
}
