/** Paths and what they offer. */
import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";

export type Handler = (request: Http1Request) => Promise<Http1Answer> | Http1Answer;

/** What a path offers, by method. */
export interface Endpoint {
  /** The path with names for its parts, for metrics. */
  readonly pattern: string;
  readonly GET?: Handler;
  readonly POST?: Handler;
  /** What is posted here asks a model: a payload log keeps it. */
  readonly isInference?: boolean;
  /** How refusals look here, where not as V1's and V2's do. */
  readonly fail?: (refusal: HttpError) => Http1Answer;
}

/** A target without its query, and without a slash at its end, which changes nothing. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** A path's parts, decoded. Throws 400. */
export function segmentsOf(path: string): string[] {
  return path.split("/").slice(1).map(decodeSegment);
}

function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(400, "the path is malformed");
  }
}
