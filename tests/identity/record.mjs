// Asks a real kube-apiserver the questions of kubernetes-1.34.4.data.json anew, and writes its answers there.
//   node tests/identity/record.mjs --server https://127.0.0.1:16443 --ca DATA/ca.crt --token "$(cat DATA/token)"
// The server must be fresh; the token must be of group system:masters, user and uid token-admin.
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { server: { type: "string" }, ca: { type: "string" }, token: { type: "string" } },
});
const agent = new Agent({ keepAlive: true, ca: readFileSync(values.ca) });
const file = new URL("kubernetes-1.34.4.data.json", import.meta.url);

function ask(method, path, { body, headers, token }) {
  return new Promise((resolve, reject) => {
    const authorization = token === "" ? {} : { authorization: `Bearer ${token}` };
    const all = { "content-type": "application/json", ...authorization, ...headers };
    const outgoing = request(`${values.server}${path}`, { method, agent, headers: all }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const tokens = { $admin: values.token };
const filled = (value) => JSON.parse(JSON.stringify(value).replace(/\$[a-z]+/g, (name) => tokens[name] ?? name));
const cases = JSON.parse(readFileSync(file, "utf8"));
for (const one of cases) {
  const token = one.as === undefined ? values.token : filled(one.as);
  const { status, text } = await ask(one.method, one.path, {
    ...(one.body === undefined ? {} : { body: filled(one.body) }),
    headers: one.headers ?? {},
    token,
  });
  let answer = text;
  try {
    answer = JSON.parse(text);
  } catch {
    // Plain text.
  }
  if (one.keep !== undefined) tokens[one.keep] = answer.status?.token;
  // The server's authorizer hears of roles a moment later.
  if (one.method !== "GET" && one.path.includes("rbac.authorization")) await setTimeout(500);
  one.status = status;
  one.answer = hidden(answer);
}
agent.destroy();
writeFileSync(file, `${JSON.stringify(cases)}\n`);

/** Without what is the server's own. */
function hidden(answer) {
  return JSON.parse(
    JSON.stringify(answer, (name, value) =>
      name === "managedFields" || name === "resourceVersion" ? undefined : value,
    )
      .replaceAll(values.token, "$admin")
      .replace(/eyJ[\w.-]+/g, "$token")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "$uid")
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "$time"),
  );
}
