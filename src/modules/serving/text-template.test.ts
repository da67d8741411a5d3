import { expect, test } from "vitest";
import { mergeBy } from "./pod-template.js";
import { renderTemplate } from "./text-template.js";

test.each([
  ["--name={{ .A }}", "--name=1"],
  ["{{if .A}}yes{{else}}no{{end}}", "yes"],
  ["{{if .B}}yes{{else}}no{{end}}", "no"],
  ["{{ if .MISSING }}x{{ else if .A }}y{{ else }}z{{ end }}", "y"],
  ["{{ if not .MISSING }}a{{ if .B }}b{{ else }}c{{ end }}{{ end }}", "ac"],
  ['{{ if eq .A "1" }}one{{ end }}', "one"],
  ["a {{- .A -}} b", "a1b"],
  ["{{if .MISSING}}{{ .MISSING }}{{end}}", ""],
  ['{{ index . "A" }}', "1"],
])("%s", (template, wanted) => {
  expect(renderTemplate(template, { A: "1", B: "" })).toBe(wanted);
});

test.each([
  ["{{ .MISSING }}", "parameter MISSING is not given"],
  ["{{ .toString }}", "parameter toString is not given"],
  ["{{ if .A }}", "if without end"],
  ["{{ end }}", "end without if"],
  ["{{ printf .A }}", "is not understood"],
  ["{{ .A", "{{ without }}"],
])("%s is refused", (template, message) => {
  expect(() => renderTemplate(template, { A: "1" })).toThrow(message);
});

test("templates merge by name, arguments are replaced whole, null removes", () => {
  const base = {
    spec: {
      nodeSelector: { a: "1", b: "2" },
      containers: [{ name: "user-container", args: ["x"], env: [{ name: "A", value: "1" }] }, { name: "side" }],
    },
  };
  const patch = {
    spec: {
      nodeSelector: { b: null },
      containers: [{ name: "user-container", args: ["y", "z"], env: [{ name: "B", value: "2" }] }, { name: "new" }],
    },
  };

  const merged = mergeBy(base, patch);

  expect(merged).toEqual({
    spec: {
      nodeSelector: { a: "1" },
      containers: [
        {
          name: "user-container",
          args: ["y", "z"],
          env: [
            { name: "A", value: "1" },
            { name: "B", value: "2" },
          ],
        },
        { name: "side" },
        { name: "new" },
      ],
    },
  });
});
