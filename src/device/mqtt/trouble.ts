/**
 * What the owner has to mend at the broker, as one text for the camera's health. Each part of it is over when
 * it is mended, and all of it with the next connection, which finds again what is so still.
 */
export type Trouble = {
  /** A connection stands. */
  up(): void;
  /** There is none, for a reason that only the owner can mend. */
  down(why: string): void;
  /** These topics the broker does not take. */
  unwritten(topics: readonly string[]): void;
  /** Whether the broker lets the camera hear of this. */
  heard(what: Heard, isHeard: boolean): void;
  /** Whether there is something that it does not. */
  isDeaf(): boolean;
};
type Heard = "all topics of alarm.sensors" | "what it may be asked for";

/** Topics that are named of those that the broker does not take. */
const mostNamed = 4;

export function createTrouble(options: {
  onFault(text: string | undefined): void;
  warn(line: string): void;
}): Trouble {
  const { onFault, warn } = options;
  const faults = new Map<string, string>();
  const deaf = new Set<Heard>();
  const tell = () => onFault(faults.size > 0 ? [...faults.values()].join("; ") : undefined);
  const clear = () => {
    faults.clear();
    deaf.clear();
  };
  const set = (about: string, text: string | undefined, hint: string) => {
    if (faults.get(about) === text) return;
    if (text === undefined) faults.delete(about);
    else {
      faults.set(about, text);
      warn(`${text}${hint}`);
    }
    tell();
  };
  return {
    up() {
      clear();
      tell();
    },
    down(why) {
      clear();
      faults.set("connection", `MQTT: ${why}`);
      tell();
    },
    unwritten(topics) {
      const named = topics.slice(0, mostNamed).join(", ");
      const more = topics.length > mostNamed ? " and others" : "";
      const text = `the MQTT broker does not let this camera write ${named}${more}`;
      const hint = ": look at the broker's access list, and at how large a message may be";
      set("write", topics.length > 0 ? text : undefined, hint);
    },
    heard(what, isHeard) {
      if (isHeard) deaf.delete(what);
      else deaf.add(what);
      const text = `the MQTT broker does not let this camera read ${[...deaf].join(", nor ")}`;
      set("read", deaf.size > 0 ? text : undefined, "");
    },
    isDeaf: () => deaf.size > 0,
  };
}
