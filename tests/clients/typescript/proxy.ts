/** A small TCP proxy that injects faults into connections, for the test. */

import * as net from 'node:net';

interface Pair {
  near: net.Socket;
  far: net.Socket;
  frozen: boolean;
}

/** Forwards connections to a target, and injects faults on request. */
export class Proxy {
  /** The number of connections that were reset. */
  resets = 0;
  /** The limit of the rate of the data from the target; 0 is no limit. */
  bytesPerSecond = 0;
  private readonly pairs = new Set<Pair>();
  private readonly server = net.createServer((near) => this.serve(near));
  private readonly host: string;
  private readonly port: number;

  constructor(target: string) {
    const colon = target.lastIndexOf(':');
    this.host = target.slice(0, colon);
    this.port = Number(target.slice(colon + 1));
  }

  /** Starts listening, and returns the address to connect to. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.server.address() as net.AddressInfo).port}`;
  }

  /**
   * Resets every open connection, like a router that has lost their state: data in
   * flight is dropped. Returns their number.
   */
  resetAll(): number {
    const pairs = [...this.pairs];
    for (const pair of pairs) {
      this.reset(pair);
    }
    this.resets += pairs.length;
    return pairs.length;
  }

  /**
   * Stops forwarding on all open connections without closing them. New connections are
   * not affected.
   */
  freezeAll(): void {
    for (const pair of this.pairs) {
      pair.frozen = true;
      pair.near.pause();
      pair.far.pause();
    }
  }

  close(): void {
    this.server.close();
    this.resetAll();
  }

  private serve(near: net.Socket): void {
    const far = net.connect(this.port, this.host);
    const pair = { near, far, frozen: false };
    this.pairs.add(pair);
    for (const socket of [near, far]) {
      socket.setNoDelay();
      // One side has closed: close the other one.
      socket.on('error', () => this.reset(pair));
      socket.on('close', () => this.reset(pair));
    }
    near.on('data', (bytes) => this.pass(pair, near, far, bytes, 0));
    far.on('data', (bytes) => this.pass(pair, far, near, bytes, this.bytesPerSecond));
  }

  private pass(
    pair: Pair,
    from: net.Socket,
    to: net.Socket,
    bytes: Buffer,
    bytesPerSecond: number,
  ): void {
    const resumeReading = (): void => {
      if (!pair.frozen) {
        from.resume();
      }
    };
    const full = !to.write(bytes);
    if (bytesPerSecond > 0) {
      from.pause();
      setTimeout(resumeReading, (bytes.length / bytesPerSecond) * 1000);
    } else if (full) {
      from.pause();
      to.once('drain', resumeReading);
    }
  }

  private reset(pair: Pair): void {
    if (this.pairs.delete(pair)) {
      pair.near.resetAndDestroy();
      pair.far.resetAndDestroy();
    }
  }
}
