import { X509Certificate } from "node:crypto";
import type { Clock, Timer } from "../clock/types.js";
import type { Logger } from "../log/types.js";
import { type Authority, type IssuedCertificate, needsRenewal } from "./authority.js";
import { readSecretFile, writeSecretFile } from "./files.js";

export interface KeptCertificateOptions {
  readonly authority: Authority;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where certificate and key are kept in one file (0600); absent: in memory only. */
  readonly file?: string;
  /** What the certificate must be good for; anything else in the file is replaced. */
  readonly subject:
    | { readonly use: "server"; readonly names: readonly string[]; readonly commonName?: string }
    | { readonly use: "client"; readonly user: string; readonly groups: readonly string[] };
  /** Called after each renewal, to hand the new pair to the sockets. */
  readonly onRenewed?: (certificate: IssuedCertificate) => void;
}

/** A certificate that renews itself when a third of its life is left. */
export interface KeptCertificate {
  readonly current: IssuedCertificate;
  close(): void;
}

const checkEveryMs = 6 * 3_600_000;

/** Loads the certificate of `file`, or has one issued, and keeps it fresh until closed. */
export async function keepCertificate(options: KeptCertificateOptions): Promise<KeptCertificate> {
  const { authority, clock, log, subject } = options;
  const issue = async (): Promise<IssuedCertificate> => {
    const issued =
      subject.use === "server"
        ? await authority.issueServer(
            subject.names,
            subject.commonName === undefined ? {} : { commonName: subject.commonName },
          )
        : await authority.issueClient(subject.user, subject.groups);
    if (options.file !== undefined) await writeSecretFile(options.file, issued.keyPem + issued.certPem);
    return issued;
  };
  const names = subject.use === "server" ? subject.names : [];
  let current = (await loadUsable(options, names)) ?? (await issue());
  let timer: Timer | undefined;
  let isClosed = false;
  const check = async () => {
    try {
      if (needsRenewal(current.certPem, clock.now(), names)) {
        current = await issue();
        options.onRenewed?.(current);
        log.info("certificate renewed", { until: new Date(current.notAfterMs).toISOString() });
      }
    } catch (error) {
      log.error("certificate not renewed", { err: error });
    }
    if (!isClosed) schedule();
  };
  // check() handles its own errors
  const schedule = () => {
    timer = clock.setTimer(checkEveryMs, () => void check());
  };
  schedule();
  return {
    get current() {
      return current;
    },
    close() {
      isClosed = true;
      timer?.cancel();
    },
  };
}

async function loadUsable(
  options: KeptCertificateOptions,
  names: readonly string[],
): Promise<IssuedCertificate | undefined> {
  if (options.file === undefined) return undefined;
  const text = await readSecretFile(options.file);
  const split = text?.indexOf("-----BEGIN CERTIFICATE-----") ?? -1;
  if (text === undefined || split < 0) return undefined;
  const [keyPem, certPem] = [text.slice(0, split), text.slice(split)];
  try {
    const certificate = new X509Certificate(certPem);
    const isOurs = certificate.checkIssued(new X509Certificate(options.authority.caPem));
    if (!isOurs || !isAbout(certificate, options.subject) || needsRenewal(certPem, options.clock.now(), names))
      return undefined;
    return { certPem, keyPem, notAfterMs: Date.parse(certificate.validTo) };
  } catch (error) {
    options.log.warn("kept certificate cannot be read; a new one is issued", { file: options.file, err: error });
    return undefined;
  }
}

/** Whether a kept client certificate says what is wanted now; one that is hard to compare is simply issued anew. */
function isAbout(certificate: X509Certificate, subject: KeptCertificateOptions["subject"]): boolean {
  if (subject.use === "server") return true;
  return certificate.subject === [...subject.groups.map((group) => `O=${group}`), `CN=${subject.user}`].join("\n");
}
