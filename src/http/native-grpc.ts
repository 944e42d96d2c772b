import { ServeError } from "../core/errors.ts";

/** gRPC's status `unimplemented`. */
const UNIMPLEMENTED = "12";

/** Whether a request's content type is that of gRPC itself: neither gRPC-Web's nor Connect's. */
export function isNativeGrpc(contentType: string): boolean {
  return /^application\/grpc(?:[+; ]|$)/i.test(contentType);
}

/** Why native gRPC is not answered on the HTTP port. `grpcPort`: where it is; undefined: nowhere. */
export function wrongPortError(grpcPort: number | undefined): ServeError {
  const where = grpcPort === undefined ? "which is switched off (--no-grpc)" : `which is served on port ${grpcPort}`;
  return new ServeError("unimplemented", `This port does not speak native gRPC, ${where}.`, { reason: "wrong_port" });
}

/** An error in the form that gRPC's clients read: a head alone, which is the trailers, too. */
export function grpcRefusal(error: ServeError): Response {
  const headers = { "content-type": "application/grpc", "grpc-status": UNIMPLEMENTED, "grpc-message": error.message };
  return new Response(null, { headers });
}
