import type { ServiceAccountTokens } from "../../../kernel/identity/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { checkRoute } from "../registry/answers.js";
import type { ApiRequest, ApiResponse } from "../types.js";

/** How others check ServiceAccount tokens (OpenID Connect discovery): the issuer's document and its public keys. `undefined` for other paths. Throws 405, 406. */
export function issuerDiscovery(tokens: ServiceAccountTokens): (request: ApiRequest) => ApiResponse | undefined {
  const answer = (type: string, value: JsonObject): ApiResponse => ({
    status: 200,
    headers: { "content-type": type, "cache-control": "public, max-age=3600" },
    body: Buffer.from(JSON.stringify(value)),
  });
  return (request) => {
    switch (request.path.replace(/\/$/, "")) {
      case "/.well-known/openid-configuration":
        checkRoute(request, ["application/json"]);
        return answer("application/json", {
          issuer: tokens.issuer,
          jwks_uri: `${tokens.issuer}/openid/v1/jwks`,
          response_types_supported: ["id_token"],
          subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: tokens.publicKeys.map(({ alg }) => alg),
        });
      case "/openid/v1/jwks":
        checkRoute(request, ["application/jwk-set+json"]);
        return answer("application/jwk-set+json", { keys: tokens.publicKeys.map((key) => ({ ...key })) });
      default:
        return undefined;
    }
  };
}
