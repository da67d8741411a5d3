import { type BackendInput, type ShadowInput, splitAddress } from "../../../dataplane/gateway/index.js";
import type { HeadIngress } from "../kinds.js";

/** What requests, or copies of them, are sent to. */
export type PlaceInput = BackendInput | ShadowInput;

/** Somewhere outside of the mesh that has objects of its own there. */
export interface Place {
  /** Of its objects. */
  readonly name: string;
  /** By which routes name it. */
  readonly host: string;
  readonly port: number;
  readonly input: PlaceInput;
}

/**
 * Where each of these is. A host is one place in the mesh, with its own addresses: who has the host of another and other addresses, and who
 * has an address in place of a name, which Istio refuses, gets a host that is made up.
 */
export function placesOf(
  { metadata: { name, namespace = "default" } }: HeadIngress,
  inputs: readonly PlaceInput[],
): ReadonlyMap<PlaceInput, Place> {
  const places = new Map<PlaceInput, Place>();
  const known = new Map<string, Place>();
  const hosts = new Set<string>();
  for (const input of inputs) {
    const asked = placeOf(input.host ?? input.addresses[0] ?? "").host.toLowerCase();
    const key = JSON.stringify([asked, input.addresses, input.tls]);
    const objects = `${name}-${known.size}`;
    const place = known.get(key) ?? {
      name: objects,
      host: isNumeric(asked) || hosts.has(asked) ? `${objects}.${namespace}.argosy.internal` : asked,
      port: placeOf(input.addresses[0] ?? "").port ?? 80,
      input,
    };
    known.set(key, place);
    hosts.add(place.host);
    places.set(input, place);
  }
  return places;
}

/** `HOST:PORT` or a host alone, without brackets. */
export function placeOf(text: string): { readonly host: string; readonly port?: number } {
  return splitAddress(text) ?? { host: text.replaceAll(/[[\]]/g, "") };
}

/** Whether a host is an address, and no name. */
export function isNumeric(host: string): boolean {
  return /^[\d.]+$|:/.test(host);
}
