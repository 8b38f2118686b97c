/** A small TCP proxy that treats connections badly, for the test. */

import * as net from 'node:net';

interface Pair {
  near: net.Socket;
  far: net.Socket;
  frozen: boolean;
}

/** Passes bytes on to a target, until it is told otherwise. */
export class Proxy {
  /** How many connections were reset. */
  resets = 0;
  /** What comes from the target is slowed down to this; 0 is not at all. */
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

  /** Begins. Gives the address to connect to. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.server.address() as net.AddressInfo).port}`;
  }

  /**
   * Resets every connection that stands, as a router does that has forgotten them:
   * nothing that is under way arrives. Says how many those were.
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
   * From now on nothing passes on the connections that stand, and neither side is
   * told. New ones are not concerned.
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
      // One side is gone; the other one is closed with it.
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
    const goOn = (): void => {
      if (!pair.frozen) {
        from.resume();
      }
    };
    const full = !to.write(bytes);
    if (bytesPerSecond > 0) {
      from.pause();
      setTimeout(goOn, (bytes.length / bytesPerSecond) * 1000);
    } else if (full) {
      from.pause();
      to.once('drain', goOn);
    }
  }

  private reset(pair: Pair): void {
    if (this.pairs.delete(pair)) {
      pair.near.resetAndDestroy();
      pair.far.resetAndDestroy();
    }
  }
}
