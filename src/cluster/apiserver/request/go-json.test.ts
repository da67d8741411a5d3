import { expect, test } from "vitest";
import { goSyntaxFault } from "./go-json.js";

test.each([
  ["", "unexpected end of JSON input"],
  ['{"a":1}x', "invalid character 'x' after top-level value"],
  ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
  ['{"a" 1}', "invalid character '1' after object key"],
  ['{"a":01}', "invalid character '1' after object key:value pair"],
  ["[1 2]", "invalid character '2' after array element"],
  ['"\\q"', "invalid character 'q' in string escape code"],
  ['"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape"],
  ['"\n"', "invalid character '\\n' in string literal"],
  ["-", "unexpected end of JSON input"],
  ["-}", "invalid character '}' in numeric literal"],
  ["tru}", "invalid character '}' in literal true (expecting 'e')"],
  ["é", "invalid character 'Ã' looking for beginning of value"],
])("says of %j what Go's parser says", (text, fault) => {
  expect(goSyntaxFault(text)).toBe(fault);
});

test.each(['{"a":[1,{"b":null}],"c":"\\u00e9\\n"}', " -1.5e+3 ", "[]", '""'])("takes %j", (text) => {
  expect(goSyntaxFault(text)).toBeUndefined();
});
