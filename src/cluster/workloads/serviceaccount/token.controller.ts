import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  isDeleting,
  type KubeObject,
  type Secret,
  SecretKind,
  type ServiceAccount,
  ServiceAccountKind,
} from "../../../kernel/kinds/index.js";
import { asObject, asString } from "../../../kernel/schema/index.js";

const fieldManager = "serviceaccount-token-controller";
const secretType = "kubernetes.io/service-account-token";
const accountAnnotation = "kubernetes.io/service-account.name";
const uidAnnotation = "kubernetes.io/service-account.uid";
/** The longest that the API gives: these tokens are meant to last as long as their Secret. */
const lifetimeSeconds = 2 ** 32;

type Context = ReconcileContext<Secret>;

/** Fills Secrets that ask for a token of a ServiceAccount, and removes them with it. The token is good as long as the Secret is there. */
export function tokenSecrets(options: { readonly caPem: string }): ControllerSpec<Secret> {
  return {
    name: fieldManager,
    kind: SecretKind,
    watches: [
      {
        kind: ServiceAccountKind,
        keys: (account, informers) =>
          secretsOf(account, informers.informer(SecretKind).list(account.metadata.namespace ?? "")),
      },
    ],
    async reconcile(_key, secret, context) {
      if (secret === undefined || secret.type !== secretType || isDeleting(secret)) return;
      const account = await accountOf(secret, context);
      if (account === undefined) await remove(secret, context);
      else if (!isFilled(secret, account, options.caPem)) await fill(secret, account, { ...options, context });
    },
  };
}

function secretsOf({ metadata }: KubeObject, secrets: readonly Secret[]): readonly Key[] {
  return secrets
    .filter(({ type, metadata: own }) => type === secretType && own.annotations?.[accountAnnotation] === metadata.name)
    .map(({ metadata: own }) => ({ namespace: own.namespace ?? "", name: own.name }));
}

/** The account that a Secret is for; `undefined`: it is gone, or another one has its name. */
async function accountOf({ metadata }: Secret, { cluster }: Context): Promise<ServiceAccount | undefined> {
  const { namespace = "", annotations = {} } = metadata;
  const name = annotations[accountAnnotation] ?? "";
  const known = cluster.informers.informer(ServiceAccountKind).get({ namespace, name });
  // The informer may be behind; the server is not.
  const account = known ?? (await cluster.client.resource(ServiceAccountKind).find(name, { namespace }));
  const uid = annotations[uidAnnotation] ?? "";
  return uid === "" || uid === account?.metadata.uid ? account : undefined;
}

const encoded = (text: string): string => Buffer.from(text).toString("base64");

function isFilled({ data = {}, metadata }: Secret, account: ServiceAccount, caPem: string): boolean {
  return (
    (data["token"] ?? "") !== "" &&
    data["ca.crt"] === encoded(caPem) &&
    data["namespace"] === encoded(metadata.namespace ?? "") &&
    metadata.annotations?.[uidAnnotation] === account.metadata.uid
  );
}

async function fill(
  secret: Secret,
  account: ServiceAccount,
  { caPem, context }: { readonly caPem: string; readonly context: Context },
): Promise<void> {
  const { namespace = "", name, uid, resourceVersion } = secret.metadata;
  const { client } = context.cluster;
  let token = secret.data?.["token"] ?? "";
  if (token === "") {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account.metadata.name)}/token`;
    const answer = await client.json("POST", path, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds: lifetimeSeconds, boundObjectRef: { apiVersion: "v1", kind: "Secret", name, uid } },
    });
    token = encoded(asString(asObject(asObject(answer)["status"])["token"]));
  }
  const data = { token, "ca.crt": encoded(caPem), namespace: encoded(namespace) };
  const patch = { metadata: { resourceVersion, annotations: { [uidAnnotation]: account.metadata.uid } }, data };
  await client.resource(SecretKind).patch(name, "merge", patch, { namespace, fieldManager });
}

async function remove({ metadata }: Secret, { cluster }: Context): Promise<void> {
  const { namespace = "", name, uid } = metadata;
  try {
    await cluster.client.resource(SecretKind).delete(name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
