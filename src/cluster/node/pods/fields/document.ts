import { fieldRules } from "./evaluate.js";

/**
 * The table of docs/pods.md.
 * @public scripts/pods-reference.mjs writes it.
 */
export function renderFieldTable(): string {
  const rows = fieldRules.map(
    ({ field, value, root, user, podman = root, note }) =>
      `| \`${field}\` | ${value?.text ?? ""} | ${root} | ${user} | ${podman} | ${note.replaceAll("|", "\\|")} |`,
  );
  return [
    "| field of `spec` | value | as root | as a plain user | by podman | what is done, or what to do instead |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
