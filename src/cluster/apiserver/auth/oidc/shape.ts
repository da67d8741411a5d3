import { s } from "../../../../kernel/schema/index.js";
import type { ConfigShape } from "../../config/index.js";

const expression = s.string({ min: 1 });
const claimOrExpression = { claim: s.string().optional(), expression: expression.optional() };
const prefixed = s.object({ ...claimOrExpression, prefix: s.string().optional() });

const jwt = s.object({
  issuer: s.object({
    url: s.string({ min: 1 }),
    discoveryURL: s.string().optional(),
    certificateAuthority: s.string().optional(),
    audiences: s.array(s.string({ min: 1 }), { min: 1 }),
    audienceMatchPolicy: s.enum("MatchAny").optional(),
    egressSelectorType: s.string().optional(),
  }),
  claimValidationRules: s
    .array(
      s.object({
        claim: s.string().optional(),
        requiredValue: s.string().optional(),
        expression: expression.optional(),
        message: s.string().optional(),
      }),
    )
    .optional(),
  claimMappings: s.object({
    username: prefixed,
    groups: prefixed.optional(),
    uid: s.object(claimOrExpression).optional(),
    extra: s.array(s.object({ key: s.string(), valueExpression: expression })).optional(),
  }),
  userValidationRules: s.array(s.object({ expression, message: s.string().optional() })).optional(),
});

/** `AuthenticationConfiguration` of apiserver.config.k8s.io. */
export const authenticationShape: ConfigShape = {
  kind: "AuthenticationConfiguration",
  apiVersions: ["v1", "v1beta1", "v1alpha1"].map((version) => `apiserver.config.k8s.io/${version}`),
  schema: s.object({
    jwt: s.array(jwt, { max: 64 }).optional(),
    anonymous: s
      .object({ enabled: s.boolean(), conditions: s.array(s.object({ path: s.string({ min: 1 }) })).optional() })
      .optional(),
  }).schema,
};
