/** Refusals as OpenAI's clients expect them. */
import type { Http1Answer, HttpError } from "../../../kernel/http1/index.js";
import { ParamError } from "../text/params.js";

/** OpenAI's error object. */
export function openAiError(error: HttpError): {
  error: { message: string; type: string; param: string | null; code: string | null };
} {
  const { status, message } = error;
  const type = status >= 500 ? "server_error" : status === 404 ? "not_found_error" : "invalid_request_error";
  const code = status === 404 && /^there is no (text )?model /.test(message) ? "model_not_found" : null;
  return { error: { message, type, param: error instanceof ParamError ? error.param : null, code } };
}

/** A refusal in OpenAI's form. */
export const openAiFailure = (error: HttpError): Http1Answer => ({
  status: error.status,
  headers: error.headers,
  body: JSON.stringify(openAiError(error)),
});
