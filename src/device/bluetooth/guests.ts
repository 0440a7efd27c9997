import type { Log } from "../../base/node/log.ts";
import { after } from "../../base/node/socket.ts";
import { explain, Failure } from "../../base/pure/failure.ts";
import { openFrames, type Pipe } from "../../protocol/sealed/frames.ts";
import { type Link, openLink } from "../../protocol/sealed/gatt.ts";

export type GuestsOptions = {
  serve(guest: { pipe: Pipe; from: string }): Promise<void>;
  sendAway(device: string): Promise<unknown>;
  readonly log: Log;
};

/** Who is connected by Bluetooth, and which one of them is served. */
export class Guests {
  readonly #options: GuestsOptions;
  /** The one that is served. */
  #current: { device: string; link: Link } | undefined;

  constructor(options: GuestsOptions) {
    this.#options = options;
  }

  /** Resolves when the phone may write more. */
  async write(device: string, value: Uint8Array): Promise<void> {
    this.#current ??= this.#welcome(device);
    await this.#linkOf(device).take(value);
  }

  async read(device: string, room: number): Promise<Uint8Array> {
    return await this.#linkOf(device).give(room);
  }

  left(device: string): void {
    if (device === this.#current?.device) this.end();
  }

  end(): void {
    this.#current?.link.close();
  }

  #linkOf(device: string): Link {
    if (this.#current?.device === device) return this.#current.link;
    const errno = "org.bluez.Error.NotPermitted";
    throw new Failure("busy", "another phone is served", { errno });
  }

  #welcome(device: string): { device: string; link: Link } {
    const { serve, sendAway, log } = this.#options;
    let served: Promise<void> = Promise.resolve();
    const leave = async () => {
      // What it still writes until it is gone is nobody's first message.
      await sendAway(device).catch((error) => log.debug(explain(error)));
      await served;
      this.#current = undefined;
    };
    const link = openLink({ after, onEnd: () => void leave() });
    const pipe = openFrames(link);
    served = serve({ pipe, from: "bluetooth" }).finally(() => pipe.close());
    return { device, link };
  }
}
