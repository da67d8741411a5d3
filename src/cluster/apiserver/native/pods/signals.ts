const fromMinimum = Array.from({ length: 15 }, (_, index) => `SIGRTMIN+${index + 1}`);
const toMaximum = Array.from({ length: 14 }, (_, index) => `SIGRTMAX-${index + 1}`);

/** Signals by which containers may be told to stop, by their names. */
export const signals: readonly string[] = [
  ..."ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
    .split(" ")
    .map((name) => `SIG${name}`),
  ...fromMinimum,
  ...toMaximum,
].sort();

/** The same for Windows. */
export const windowsSignals: readonly string[] = ["SIGKILL", "SIGTERM"];
