/** Tokens for Google's stores: from a key file (RFC 7523), from the machine, or none. */
import { readFile } from "node:fs/promises";
import { importPKCS8, SignJWT } from "jose";
import type { Clock } from "../../../kernel/clock/types.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import { DownloadError } from "./failures.js";
import { refusal, StoreClient } from "./http-client.js";
import { isOn, type StoreSettings, variable } from "./settings.js";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
/** How long a key's own word is good for. */
const ASSERTION_SECONDS = 3600;

/** A bearer token to read with; `undefined`: only what is public can be read. Throws `DownloadError`. */
export async function googleToken(
  settings: StoreSettings,
  entry: JsonObject,
  { client, clock }: { readonly client: StoreClient; readonly clock: Clock },
): Promise<string | undefined> {
  const { env } = settings;
  const path = variable(env, "GOOGLE_APPLICATION_CREDENTIALS");
  const encoded = asString(entry["base64_service_account"]);
  const inline = encoded === "" ? undefined : Buffer.from(encoded, "base64").toString("utf8");
  if (inline === undefined && path === undefined) return tokenOfMachine(settings);
  const where = inline === undefined ? (path ?? "") : `${settings.file?.path ?? ""}: base64_service_account`;
  const text =
    inline ??
    (await readFile(path ?? "", "utf8").catch((error: unknown) => {
      throw new DownloadError("InvalidSource", `GOOGLE_APPLICATION_CREDENTIALS: ${messageOf(error)}`);
    }));
  const key = parseJson(text);
  if (!isObject(key)) throw new DownloadError("InvalidSource", `${where}: is no key file in JSON`);
  const type = asString(key["type"]);
  const endpoint = asString(key["token_uri"]) || "https://oauth2.googleapis.com/token";
  if (type === "service_account") {
    const grant = {
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: await assertionOf(key, endpoint, { where, clock }),
    };
    return exchange(client, endpoint, grant);
  }
  if (type === "authorized_user") {
    const [client_id, client_secret, refresh_token] = ["client_id", "client_secret", "refresh_token"].map((name) =>
      need(key, name, where),
    );
    return exchange(client, endpoint, {
      grant_type: "refresh_token",
      ...{ client_id: client_id ?? "", client_secret: client_secret ?? "", refresh_token: refresh_token ?? "" },
    });
  }
  throw new DownloadError(
    "Unsupported",
    `${where}: keys of type ${type || "none"} are not offered; use service_account`,
  );
}

const need = (key: JsonObject, name: string, where: string): string => {
  const value = asString(key[name]);
  if (value === "") throw new DownloadError("InvalidSource", `${where}: ${name} is missing`);
  return value;
};

async function assertionOf(
  key: JsonObject,
  audience: string,
  { where, clock }: { readonly where: string; readonly clock: Clock },
): Promise<string> {
  const email = need(key, "client_email", where);
  const seconds = Math.floor(clock.now() / 1000);
  try {
    const signer = await importPKCS8(need(key, "private_key", where), "RS256");
    const header = {
      alg: "RS256",
      typ: "JWT",
      ...(asString(key["private_key_id"]) === "" ? {} : { kid: asString(key["private_key_id"]) }),
    };
    return await new SignJWT({ scope: SCOPE })
      .setProtectedHeader(header)
      .setIssuer(email)
      .setAudience(audience)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + ASSERTION_SECONDS)
      .sign(signer);
  } catch (error) {
    if (error instanceof DownloadError) throw error;
    // Not its words: they may quote the key.
    throw new DownloadError("InvalidSource", `${where}: private_key is no RSA key in PEM (PKCS #8)`);
  }
}

async function exchange(client: StoreClient, url: string, grant: Record<string, string>): Promise<string> {
  const answer = await client.send({
    url,
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams(grant).toString(),
  });
  if (answer.status === 400 || answer.status === 401)
    throw new DownloadError("AccessDenied", (await refusal(answer, `asking ${url} for a token`)).message);
  if (answer.status !== 200) throw await refusal(answer, `asking ${url} for a token`);
  return tokenIn(await answer.text(), url);
}

function tokenIn(text: string, url: string): string {
  const body = parseJson(text);
  const token = isObject(body) ? asString(body["access_token"]) : "";
  if (token === "") throw new DownloadError("InvalidSource", `${url} answers without a token`);
  return token;
}

/** On Google's machines the machine has an identity; elsewhere nobody answers there. */
async function tokenOfMachine({ env }: StoreSettings): Promise<string | undefined> {
  if (isOn(env["NO_GCE_CHECK"]) || variable(env, "STORAGE_EMULATOR_HOST") !== undefined) return undefined;
  const url = `http://${variable(env, "GCE_METADATA_HOST") ?? "metadata.google.internal"}/computeMetadata/v1/instance/service-accounts/default/token`;
  const client = new StoreClient({ stallMs: 2_000 });
  try {
    const answer = await client.send({ url, headers: { "metadata-flavor": "Google" } });
    return answer.status === 200 ? tokenIn(await answer.text(), url) : undefined;
  } catch {
    return undefined;
  } finally {
    await client.close();
  }
}
