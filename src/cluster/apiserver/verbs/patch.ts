import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, invalid, notFound, unknownBodyFormat, unsupportedPatch } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { mediaTypeOf, parseAny, parsePatch, textOf } from "../request/body.js";
import { duplicateFields } from "../request/duplicates.js";
import type { Stored } from "../types.js";
import { type Call, inVersion, keyOf, type Machinery, type Outcome, timestamp } from "./context.js";
import { createObject } from "./create.js";
import { fieldFaults } from "./decode.js";
import { applyJsonPatch, applyMergePatch, notDecodable } from "./json-patch.js";
import { readWriteOptions, type WriteOptions } from "./options.js";
import { updateObject } from "./update.js";

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
export async function patch(machinery: Machinery, call: Call): Promise<Outcome> {
  const form = forms[mediaTypeOf(call.request.headers["content-type"])];
  if (form === undefined) throw unsupportedPatch();
  if (form === "strategic" && !call.type.merge.supportsStrategic) throw unknownBodyFormat(customForms);
  const options = readWriteOptions(call.request, "PatchOptions", form === "apply");
  // What is not there is said before anyone looks at the patch; an apply may make it.
  if (form !== "apply" && machinery.store.get(keyOf(call)) === undefined) throw notFound(call.type, call.info.name);
  const parsed = parse(form, call);
  for (let attempt = 1; ; attempt++) {
    const current = machinery.store.get(keyOf(call));
    try {
      if (current === undefined) return await createByApply(machinery, call, parsed, options);
      return await patchOnce(machinery, call, { parsed, current }, options);
    } catch (error) {
      const isRace = error instanceof ApiError && error.httpCode === 409 && attempt < maxAttempts;
      if (!isRace || namesVersion(parsed) || machinery.store.get(keyOf(call))?.revision === current?.revision)
        throw error;
    }
  }
}

function parse(form: Form, call: Call): Patch {
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

async function patchOnce(
  machinery: Machinery,
  call: Call,
  subject: { readonly parsed: Patch; readonly current: Stored },
  options: WriteOptions,
): Promise<Outcome> {
  const { parsed, current } = subject;
  const old = await inVersion(call.type, current);
  if (parsed.form === "apply") {
    const object = applyOn(machinery, call, { content: parsed.content, current: old }, options);
    return updateObject(machinery, call, { object, current }, { ...options, track: false });
  }
  const patched = patchedObject(call, old, parsed);
  const { object, unknownFields } = decodePatched(call, patched, parsed.form === "strategic");
  checkFields(call, { patched, faults: fieldFaults(parsed.duplicates, unknownFields) }, options);
  call.type.applyDefaults(object);
  checkIdentity(call, object, old);
  return updateObject(machinery, call, { object, current }, { ...options, track: true });
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
  const metadata = objectAt(content, "metadata");
  const name = stringAt(metadata, "name");
  if (name !== "" && name !== call.info.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.info.name})`);
  }
  const merged = call.type.merge.apply(current, content, {
    manager: options.manager,
    subresource: call.info.subresource,
    now: timestamp(machinery.clock),
    force: options.force,
  });
  const object = call.type.decode(merged).object;
  call.type.applyDefaults(object);
  return object;
}

async function createByApply(machinery: Machinery, call: Call, parsed: Patch, options: WriteOptions): Promise<Outcome> {
  if (parsed.form !== "apply" || call.info.subresource !== "") throw notFound(call.type, call.info.name);
  const object = applyOn(machinery, call, { content: parsed.content, current: undefined }, options);
  const metadata = objectAt(object, "metadata");
  metadata["name"] = call.info.name;
  delete metadata["resourceVersion"];
  return createObject(machinery, call, object, { ...options, track: false });
}
