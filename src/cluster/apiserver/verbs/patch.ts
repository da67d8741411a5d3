import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, invalid, unknownBodyFormat, unsupportedPatch } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { mediaTypeOf, ownBody, parseAny, parsePatch, textOf } from "../request/body.js";
import { duplicateFields } from "../request/duplicates.js";
import { type Call, type Machinery, namespaceOf, type Outcome, timestamp, type View } from "./context.js";
import { createObject, placeInNamespace } from "./create.js";
import { fieldFaults } from "./decode.js";
import { applyJsonPatch, applyMergePatch, notDecodable } from "./json-patch.js";
import { readWriteOptions, type WriteOptions } from "./options.js";
import { wholeObject } from "./update.js";

/** A patch without a resourceVersion is made again on what won the race, this often (as upstream). */
const maxAttempts = 5;

type Form = "json" | "merge" | "strategic" | "apply";

const forms: Readonly<Record<string, Form>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

const customForms = Object.keys(forms).filter((type) => forms[type] !== "strategic");

interface Patch {
  readonly form: Form;
  readonly content: unknown;
  readonly duplicates: readonly string[];
}

/** PATCH in its four forms; apply also creates. */
export async function patch(
  machinery: Machinery,
  call: Call,
  view: View = wholeObject(machinery, call),
): Promise<Outcome> {
  const isOfCustom = view.isOfCustom || call.type.custom;
  const form = forms[mediaTypeOf(call.request.headers["content-type"])];
  if (isOfCustom && (form === undefined || form === "strategic")) throw unknownBodyFormat(customForms);
  if (form === undefined) throw unsupportedPatch();
  const options = readWriteOptions(call.request, "PatchOptions", form === "apply");
  // What is not there is said before anyone looks at the patch; an apply may make it.
  if (form !== "apply" && machinery.store.get(view.key) === undefined) throw view.missing();
  const parsed = parse(form, call);
  for (let attempt = 1; ; attempt++) {
    const current = machinery.store.get(view.key);
    try {
      if (current === undefined) return await createByApply(machinery, call, { parsed, view }, options);
      const patched = patchedState(machinery, call, { parsed, old: await view.read(current) }, options);
      return await view.write({ object: patched, current }, { ...options, track: parsed.form !== "apply" });
    } catch (error) {
      const isRace = error instanceof ApiError && error.httpCode === 409 && attempt < maxAttempts;
      if (!isRace || namesVersion(parsed) || machinery.store.get(view.key)?.revision === current?.revision) throw error;
    }
  }
}

function parse(form: Form, call: Call): Patch {
  const own = ownBody(call.request);
  if (own !== undefined && (form !== "apply" || isObject(own))) return { form, content: own, duplicates: [] };
  const { body } = call.request;
  if (form === "apply") {
    const content = parseAny(body);
    if (!isObject(content)) throw badRequest("error decoding YAML: the patch is no object");
    return { form, content, duplicates: [] };
  }
  const content = parsePatch(body);
  return { form, content, duplicates: isObject(content) ? duplicateFields(textOf(body), content) : [] };
}

function namesVersion({ content }: Patch): boolean {
  return isObject(content) && stringAt(objectAt(content, "metadata"), "resourceVersion") !== "";
}

/** What the patch makes of the object. */
function patchedState(
  machinery: Machinery,
  call: Call,
  { parsed, old }: { readonly parsed: Patch; readonly old: JsonObject },
  options: WriteOptions,
): JsonObject {
  if (parsed.form === "apply") return applyOn(machinery, call, { content: parsed.content, current: old }, options);
  const patched = patchedObject(call, old, parsed);
  const { object, unknownFields } = decodePatched(call, patched, parsed.form === "strategic");
  checkFields(call, { patched, faults: fieldFaults(parsed.duplicates, unknownFields) }, options);
  call.type.applyDefaults(object);
  placeInNamespace(object, namespaceOf(call));
  checkIdentity(call, object, old);
  return object;
}

function patchedObject(call: Call, old: JsonObject, { form, content }: Patch): JsonObject {
  if (form === "json") return applyJsonPatch(old, content);
  if (!isObject(content)) throw notDecodable(content, "map[string]interface {}");
  if (form === "strategic") return call.type.merge.strategicMerge(old, content);
  const merged = applyMergePatch(old, content);
  if (!isObject(merged)) throw badRequest("the patched document is no object");
  return merged;
}

/** What a patch makes of an object must still be one of its kind; a patch that breaks that is itself invalid. */
function decodePatched(call: Call, patched: JsonObject, isConverted: boolean): ReturnType<Call["type"]["decode"]> {
  for (const field of ["apiVersion", "kind"]) {
    const value = patched[field];
    if (value === undefined || value === null || typeof value === "string" || isConverted) continue;
    const found = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
    const why = `json: cannot unmarshal ${found} into Go struct field .${field} of type string`;
    throw invalidPatch(patched, `couldn't get version/kind; json parse error: ${why}`);
  }
  try {
    return call.type.decode(patched, { isConverted });
  } catch (error) {
    if (!(error instanceof ApiError) || error.httpCode !== 400) throw error;
    const why = error.message
      .replace(/^.* cannot be handled as an? [^:]*: /, "")
      .replace(/^the object provided is unrecognized \([^)]*\): (.*) \(.*\)$/s, "$1");
    throw invalidPatch(patched, why);
  }
}

function invalidPatch(patched: JsonObject, why: string): Error {
  const message = `Invalid value: ${JSON.stringify(JSON.stringify(patched))}: ${why}`;
  return invalid({ group: "", kind: "" }, "", [{ reason: "FieldValueInvalid", field: "patch", message }]);
}

function checkFields(
  call: Call,
  found: { readonly patched: JsonObject; readonly faults: readonly string[] },
  options: WriteOptions,
): void {
  const { patched, faults } = found;
  if (faults.length === 0) return;
  if (options.fieldValidation === "Warn") call.warnings.push(...faults);
  if (options.fieldValidation === "Strict") throw invalidPatch(patched, `strict decoding error: ${faults.join(", ")}`);
}

/** A patch may not make another object of it. */
function checkIdentity(call: Call, object: JsonObject, old: JsonObject): void {
  const name = stringAt(objectAt(object, "metadata"), "name");
  const before = stringAt(objectAt(old, "metadata"), "name");
  if (name === "") {
    const where = call.info.name;
    throw badRequest(`the name of the object (${where} based on URL) was undeterminable: name must be provided`);
  }
  if (name !== before) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.info.name})`);
  }
}

function applyOn(
  machinery: Machinery,
  call: Call,
  subject: { readonly content: unknown; readonly current: JsonObject | undefined },
  options: WriteOptions,
): JsonObject {
  const { content, current } = subject;
  if (!isObject(content)) throw badRequest("the patch is no object");
  // Applied as it was sent: what decoding adds (empty structs, say) is nobody's intent.
  const object = call.type.merge.apply(current, content, {
    manager: options.manager,
    subresource: call.info.subresource,
    now: timestamp(machinery.clock),
    force: options.force,
  });
  const name = stringAt(objectAt(content, "metadata"), "name");
  if (name !== "" && name !== call.info.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.info.name})`);
  }
  call.type.applyDefaults(object);
  return object;
}

async function createByApply(
  machinery: Machinery,
  call: Call,
  { parsed, view }: { readonly parsed: Patch; readonly view: View },
  options: WriteOptions,
): Promise<Outcome> {
  const isPart = call.info.subresource !== "";
  // Where a PUT might make it, a part is made up before the whole is missed.
  if (parsed.form !== "apply" || (isPart && call.type.createsOnUpdate !== true)) throw view.missing();
  const object = applyOn(machinery, call, { content: parsed.content, current: undefined }, options);
  if (isPart) throw view.missing();
  const metadata = objectAt(object, "metadata");
  metadata["name"] = call.info.name;
  delete metadata["resourceVersion"];
  return createObject(machinery, call, object, { ...options, track: false });
}
