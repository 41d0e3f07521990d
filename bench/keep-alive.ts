import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface WireAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * A keep-alive connection for one request at a time, whose bodies are ASCII of a stated length. Node's own client costs
 * more than the server that is measured, and would be what is measured.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #host: string;
  #received = "";
  #waiting: { resolve: (answer: WireAnswer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket, host: string) {
    this.#host = host;
    this.#socket = socket.setNoDelay().setEncoding("latin1");
    this.#socket.on("data", (text: string) => this.#read(text));
    this.#socket.on("error", (error) => this.#broken(error));
    this.#socket.on("close", () => this.#broken(new Error("the connection was closed")));
  }

  /** @param url On the server, such as `http://127.0.0.1:8000/v2`. */
  static async open(url: string): Promise<Connection> {
    const { host, hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new Connection(socket, host);
  }

  send(method: "GET" | "POST", path: string, body = ""): Promise<WireAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(
        `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\nauthorization: Bearer local\r\n` +
          `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#received += text;
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? [];
    const [, length] = /\r\ncontent-length: (\d+)/i.exec(head) ?? [];
    if (status === undefined || length === undefined) {
      this.#broken(new Error(`an answer without status or length: ${head}`));
      return;
    }
    const end = headEnd + 4 + Number(length);
    if (this.#received.length < end) return;
    const answer = { status: Number(status), body: this.#received.slice(headEnd + 4, end) };
    this.#received = this.#received.slice(end);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(answer);
  }

  #broken(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
