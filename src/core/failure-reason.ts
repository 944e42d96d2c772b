/** What the codes of files, addresses and connections mean to a person. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  ENOTDIR: "part of the path is not a folder",
  EISDIR: "it is a folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its links lead in a circle",
  EBADF: "no such descriptor is open",
  EMFILE: "this process has too many files open",
  ENFILE: "this machine has too many files open",
  EADDRINUSE: "the port is taken",
  EADDRNOTAVAIL: "this machine has no such address",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was closed before an answer came",
  EPIPE: "the connection was closed",
  ETIMEDOUT: "no answer came in time",
  EHOSTUNREACH: "no route leads to that machine",
  ENETUNREACH: "no route leads to that network",
  ENOTFOUND: "no such host",
  EAI_AGAIN: "the name server does not answer",
  EPROTO: "it does not speak TLS; try http:// instead of https://",
  Malformed_HTTP_Response: "it does not speak HTTP",
  ERR_INVALID_URL: "that is no URL",
};

/** Why an operation on a file, an address or a URL failed, in a few words; an unknown error's own message. */
export function failureReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return REASONS.ETIMEDOUT!;
  const { code } = error as NodeJS.ErrnoException;
  return (code === undefined ? undefined : REASONS[code]) ?? error.message;
}

/** Whether the error is the system's own answer (a file, an address), which needs no stack trace to be understood. */
export function isSystemFailure(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && code in REASONS;
}
