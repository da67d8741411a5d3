/** What an InferenceService's annotations say of its routes: who stays where, who names a revision, who gets copies, how long requests may take. Pure. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { annotationOf, OWN, rawAnnotation } from "./annotations.js";
import type { CanaryOutcome } from "./canaries.js";
import { ROUTE } from "./children.js";
import type { ComponentOutcome, VariantOutcome } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";

const BY_NAME = /^(cookie|header)=([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128})$/;
const FORMS: readonly [name: string, form: RegExp, words: string][] = [
  [OWN.affinity, BY_NAME, "cookie=NAME or header=NAME"],
  [OWN.pin, BY_NAME, "header=NAME or cookie=NAME"],
  [OWN.shadow, /^[a-z0-9-]+(=(100|\d{1,2}))?$/, "NAME or NAME=PERCENT"],
  [OWN.fetch, /^init-container$/, "init-container"],
  [OWN.surge, /^\d{1,4}%?$/, "a number of pods or a percentage, like 1 or 25%"],
];

/** Annotations that say nothing. */
export function policyFaults(object: JsonObject): StatusCause[] {
  return FORMS.flatMap(([name, form, words]) => {
    const text = rawAnnotation(object, name);
    return text === undefined || form.test(text)
      ? []
      : [{ reason: "FieldValueInvalid", field: `metadata.annotations[${name}]`, message: `must be ${words}` }];
  });
}

/** How long requests to a component may take; of its Ingress. */
export function timeoutOf(service: InferenceService, component: ComponentOutcome["component"]): Record<string, string> {
  const seconds = service.spec[component]?.timeout;
  return seconds === undefined || seconds <= 0 ? {} : { [ROUTE.timeout]: String(seconds) };
}

/** Annotations of a component's Ingress. */
export function policiesOf(
  service: InferenceService,
  outcome: ComponentOutcome,
  { main, canaries }: { readonly main: VariantOutcome; readonly canaries: readonly CanaryOutcome[] },
): Record<string, string> {
  const { component, latest, previous, scaling } = outcome;
  const isSplit = previous !== undefined || canaries.length > 0;
  // The gateway holds requests for pods of the one, or has clients stay with one of several.
  const isHeld = scaling?.by === "kpa" && previous === undefined;
  const affinity = annotationOf(service, OWN.affinity);
  const { name, percent } = shadowIn(service) ?? {};
  const copied =
    name === "latest" && previous !== undefined ? latest : canaries.find((canary) => canary.name === name)?.variant;
  const pin = isSplit && !isHeld ? pinOf(service, outcome, { main, canaries }) : undefined;
  return {
    ...(affinity === undefined || !isSplit || isHeld ? {} : { [ROUTE.affinity]: affinity }),
    ...(pin === undefined ? {} : { [ROUTE.pin]: JSON.stringify(pin) }),
    ...timeoutOf(service, component),
    ...(copied?.answers === true ? { [ROUTE.shadows]: JSON.stringify({ [copied.backend]: percent }) } : {}),
  };
}

/** Names that a client may give: `latest`, `prev`, `stable`, those of canaries and of revisions. */
function pinOf(
  service: InferenceService,
  { latest, previous }: ComponentOutcome,
  { main, canaries }: { readonly main: VariantOutcome; readonly canaries: readonly CanaryOutcome[] },
): JsonObject | undefined {
  const match = BY_NAME.exec(annotationOf(service, OWN.pin) ?? "");
  const [, by, name] = match ?? [];
  if (by === undefined || name === undefined) return undefined;
  const values: Record<string, string> = { stable: main.backend };
  for (const [tag, variant] of [["latest", latest] as const, ["prev", previous] as const]) {
    if (variant === undefined) continue;
    values[tag] = variant.backend;
    values[variant.revision] = variant.backend;
  }
  for (const canary of canaries) values[canary.name] = canary.deployment;
  return { [by]: name, values };
}

/** What the shadow annotation says; a canary without a percent gets a copy of everything. */
export function shadowIn(service: InferenceService): { readonly name: string; readonly percent: number } | undefined {
  const match = /^([a-z0-9-]+)(?:=(\d{1,3}))?$/.exec(annotationOf(service, OWN.shadow) ?? "");
  const percent = Number(match?.[2] ?? 100);
  return match?.[1] === undefined || percent > 100 ? undefined : { name: match[1], percent };
}
