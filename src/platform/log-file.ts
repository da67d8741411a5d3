import { appendFileSync, renameSync, statSync } from "node:fs";

const maxBytes = 10 * 1024 * 1024;
const keptFiles = 3;

/**
 * A sink for log lines that rotates: `file`, `file.1`, `file.2`. Lines are written at once, so that none is lost in a crash; a disk that
 * takes no more lines loses them and is asked again with the next.
 */
export function rotatingLogFile(file: string): (line: string) => void {
  let size = sizeOf(file);
  return (line) => {
    const text = line.endsWith("\n") ? line : `${line}\n`;
    try {
      if (size > maxBytes) {
        rotate(file);
        size = 0;
      }
      appendFileSync(file, text, { mode: 0o600 });
      size += Buffer.byteLength(text);
    } catch {
      // A full disk must not stop the program; the API server reports it where users look.
    }
  };
}

function rotate(file: string): void {
  for (let index = keptFiles - 1; index > 0; index -= 1) {
    const from = index === 1 ? file : `${file}.${index - 1}`;
    if (sizeOf(from) > 0) {
      renameSync(from, `${file}.${index}`);
    }
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}
