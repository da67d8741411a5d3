import { AwsV4Signer } from "aws4fetch";
import { expect, test } from "vitest";
import { signedHeaders } from "./index.js";

const keys = { accessKey: "AKIDEXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);

test.each([
  ["a listing", "https://store:9000/bucket?list-type=2&prefix=a%20b%2Fc&continuation-token=x%3D", {}],
  ["a range", "https://store/bucket/m%C3%BCll/it%27s%20(1)%2B.onnx", { range: "bytes=0-9", "if-match": '"e  tag"' }],
])("another signer signs the same: %s", async (_, url, headers) => {
  for (const sessionToken of [undefined, "token/of+a=session"]) {
    const own = signedHeaders(
      { method: "GET", to: new URL(url), headers, payloadHash: "UNSIGNED-PAYLOAD" },
      { keys: { ...keys, ...(sessionToken === undefined ? {} : { sessionToken }) }, region: "eu-west-1", nowMs },
    );
    const theirs = await new AwsV4Signer({
      ...{ method: "GET", url, headers: { ...headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" }, allHeaders: true },
      ...{ accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey, service: "s3", region: "eu-west-1" },
      ...(sessionToken === undefined ? {} : { sessionToken }),
      datetime: "20260102T030405Z",
    }).sign();
    expect(own["authorization"]).toBe(theirs.headers.get("authorization"));
    expect(own["x-amz-security-token"]).toBe(sessionToken);
  }
});
