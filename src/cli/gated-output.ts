import { Writable } from "node:stream";

/** A terminal that shows what is written only while `isOpen`: for line editing, which redraws by itself when keys or a resize come. */
export function gatedOutput(output: NodeJS.WriteStream, isOpen: () => boolean): Writable {
  const gated = new Writable({
    decodeStrings: false,
    write(text, _encoding, done) {
      if (isOpen()) output.write(text);
      done();
    },
  });
  Object.defineProperty(gated, "columns", { get: () => output.columns });
  const onResize = () => gated.emit("resize");
  output.on("resize", onResize);
  gated.on("close", () => output.off("resize", onResize));
  return gated;
}
