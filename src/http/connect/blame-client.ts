import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

/** How Connect's errors over bytes that are no message begin. */
const UNREADABLE = "parse binary: ";

/**
 * Sees to it that a call whose message cannot be read is refused as invalid_argument, where Connect has `internal`. Throws
 * ConnectError for a message in the URL that is no base64; of any other, Connect shows its error to the call's signal
 * before it answers with it, and the code is set there.
 */
export function blameClient(context: HandlerContext): void {
  checkUrl(context);
  const { signal } = context;
  signal.addEventListener("abort", () => {
    const error: unknown = signal.reason;
    if (error instanceof ConnectError && error.code === Code.Internal && error.rawMessage.startsWith(UNREADABLE)) {
      (error as { code: Code }).code = Code.InvalidArgument;
    }
  });
}

function checkUrl({ requestMethod, url }: HandlerContext): void {
  if (requestMethod !== "GET") return;
  const { searchParams } = new URL(url);
  if (searchParams.get("base64") !== "1") return;
  try {
    base64Decode(searchParams.get("message") ?? "");
  } catch {
    throw new ConnectError("The message in the URL is not valid base64.", Code.InvalidArgument);
  }
}
