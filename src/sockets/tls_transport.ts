import type { Socket } from "node:net";
import type { Accept, Transport } from "./transport.ts";

/** TLS の流れ。証明書を替えられるのは node:tls だけなので、その上に載せる。 */
export function acceptTls(socket: Socket, accept: Accept): void {
  const transport: Transport = {
    // ソケットは送り終えるまで持ち続けることがあるので、写しを渡す。
    write: (data) =>
      typeof data === "string" ? socket.write(data, "latin1") : socket.write(Buffer.from(data)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
  const handler = accept(transport);
  socket.on("data", (chunk: Uint8Array) => handler.data(chunk));
  socket.on("drain", () => handler.drained());
  socket.on("end", () => handler.ended());
  socket.on("close", () => handler.closed());
}
