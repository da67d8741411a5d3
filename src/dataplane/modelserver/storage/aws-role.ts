/** Keys of a role for a pod's identity (AWS STS, AssumeRoleWithWebIdentity): what EKS puts into pods of annotated ServiceAccounts. */
import { readFile } from "node:fs/promises";
import type { AwsKeys } from "../../../kernel/aws/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { DownloadError } from "./failures.js";
import { refusal, StoreClient } from "./http-client.js";
import { type Environment, variable } from "./settings.js";
import { textIn } from "./xml.js";

/** Exchanges the token in `AWS_WEB_IDENTITY_TOKEN_FILE` for keys of `AWS_ROLE_ARN`; `undefined` where they are not given. Throws `DownloadError`. */
export async function keysOfRole(env: Environment, region: string): Promise<AwsKeys | undefined> {
  const role = variable(env, "AWS_ROLE_ARN");
  const file = variable(env, "AWS_WEB_IDENTITY_TOKEN_FILE");
  if (role === undefined || file === undefined) return undefined;
  const token = await readFile(file, "utf8").catch((error: unknown) => {
    throw new DownloadError("InvalidSource", `AWS_WEB_IDENTITY_TOKEN_FILE: ${messageOf(error)}`);
  });
  const endpoint = variable(env, "AWS_ENDPOINT_URL_STS") ?? `https://sts.${region}.amazonaws.com`;
  const client = new StoreClient();
  try {
    const answer = await client.send({
      url: `${endpoint.replace(/\/+$/, "")}/`,
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({
        ...{ Action: "AssumeRoleWithWebIdentity", Version: "2011-06-15", RoleArn: role },
        RoleSessionName: variable(env, "AWS_ROLE_SESSION_NAME") ?? "argosy-models",
        WebIdentityToken: token.trim(),
      }).toString(),
    });
    if (answer.status >= 400 && answer.status < 500)
      throw new DownloadError("AccessDenied", (await refusal(answer, `taking on the role ${role}`)).message);
    if (answer.status !== 200) throw await refusal(answer, `taking on the role ${role}`);
    const text = await answer.text();
    const [accessKey, secretKey] = [textIn(text, "AccessKeyId"), textIn(text, "SecretAccessKey")];
    if (accessKey === "" || secretKey === "")
      throw new DownloadError("InvalidSource", `taking on the role ${role}: the answer holds no keys`);
    return { accessKey, secretKey, sessionToken: textIn(text, "SessionToken") };
  } finally {
    await client.close();
  }
}
