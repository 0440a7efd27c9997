import { systemBus } from "@homebridge/dbus-native";
import { Failure, type FailureKind } from "../pure/failure.ts";

// The system's D-Bus, as promises and failures. The only importer of the library.

export type Call = {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Of the body, in D-Bus's letters. A variant is sent as [signature, value]. */
  readonly signature?: string;
  readonly body?: readonly unknown[];
  /** 25 s unless said, as other clients wait. */
  readonly withinMs?: number;
};
export type Signal = {
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
};
/** An interface of an object here, for others on the bus to call. */
export type Served = {
  readonly path: string;
  readonly interface: string;
  readonly methods: Readonly<Record<string, Method>>;
  /** [signature, value] by name. */
  readonly properties?: Readonly<Record<string, readonly [signature: string, value: unknown]>>;
};
export type Method = {
  /** Signatures of what it takes and gives: nothing, or one value. */
  readonly takes: string;
  readonly gives: string;
  /** A Failure that is thrown is the answer: `errno` its name on the bus. */
  act(values: readonly unknown[], sender: string): unknown;
};
export type Bus = {
  /**
   * What the other side answers. Throws Failure "absent" when nobody has that name, object or method,
   * "denied" when a right is missing, "stalled" without an answer, "gone" when the bus went away, else
   * "refused"; `errno` is the error's name on the bus. What was sent is in no message of these.
   */
  call(call: Call): Promise<unknown[]>;
  /** Every signal of `sender` (a well-known name), until what is returned is called. */
  watch(sender: string, act: (signal: Signal) => void): Promise<() => Promise<void>>;
  /** Until the bus is closed. What it returns gives a property [signature, value], and says so to all. */
  serve(object: Served): (property: string, value: readonly [string, unknown]) => void;
  close(): void;
};

/** What the library can do and its types do not say. */
type Exporter = {
  exportInterface(object: object, path: string, about: object): void;
  sendSignal(path: string, of: string, member: string, signature: string, body: unknown[]): void;
};

type Message = Partial<Signal> & { type: number };

const bus = "org.freedesktop.DBus";
const answerMs = 25_000;
const signalType = 4;

/** Throws Failure "absent" when there is no bus, "gone" when it does not let us in. */
export async function openBus(): Promise<Bus> {
  const client = systemBus();
  const { connection } = client;
  const failing = new Set<(failure: Failure) => void>();
  let lost: Failure | undefined;
  const lose = (failure: Failure) => {
    lost ??= failure;
    for (const fail of failing) fail(lost);
    failing.clear();
  };
  connection.on("error", (cause: NodeJS.ErrnoException) => {
    const isThere = cause.code !== "ENOENT" && cause.code !== "ECONNREFUSED";
    const options = { cause, hint: isThere ? "" : "Does dbus run? systemctl status dbus" };
    lose(new Failure(isThere ? "gone" : "absent", "the system's D-Bus cannot be reached", options));
  });
  connection.on("end", () => lose(new Failure("gone", "the system's D-Bus went away")));

  const call: Bus["call"] = ({ withinMs = answerMs, ...message }) =>
    new Promise((resolve, reject) => {
      if (lost) return reject(lost);
      const what = `${message.interface}.${message.member}`;
      const end = () => {
        clearTimeout(timer);
        failing.delete(fail);
      };
      const fail = (failure: Failure) => {
        end();
        reject(failure);
      };
      const timer = setTimeout(
        () => fail(new Failure("stalled", `${what}: no answer within ${withinMs} ms`)),
        withinMs,
      );
      failing.add(fail);
      client.invoke(message, (error, ...values: unknown[]) => {
        if (error) return fail(failureOf(error, what));
        end();
        resolve(values);
      });
    });

  const speakToBus = (member: string, rule: string) =>
    call({
      ...{ destination: bus, path: "/org/freedesktop/DBus", interface: bus, member },
      ...{ signature: "s", body: [rule] },
    });
  const watch: Bus["watch"] = async (sender, act) => {
    // Signals carry the sender's unique name, which is another after each of its starts.
    let owner = await speakToBus("GetNameOwner", sender).then(
      ([name]) => name,
      () => undefined,
    );
    const hear = (message: Message) => {
      const { type, sender: from = "", path = "", interface: of = "", member = "" } = message;
      if (type !== signalType) return;
      const body = message.body ?? [];
      const isOwnerChange = from === bus && member === "NameOwnerChanged" && body[0] === sender;
      if (isOwnerChange) owner = body[2] || undefined;
      if (isOwnerChange || from === owner) act({ sender: from, path, interface: of, member, body });
    };
    const rules = [
      `type='signal',sender='${sender}'`,
      `type='signal',sender='${bus}',member='NameOwnerChanged',arg0='${sender}'`,
    ];
    connection.on("message", hear);
    for (const rule of rules) await speakToBus("AddMatch", rule);
    return async () => {
      connection.off("message", hear);
      if (!lost) for (const rule of rules) await speakToBus("RemoveMatch", rule);
    };
  };
  const exporter = client as unknown as Exporter;
  const serve: Bus["serve"] = ({ path, interface: name, methods, properties = {} }) => {
    const object: Record<string, unknown> = {};
    for (const [member, { act }] of Object.entries(methods)) {
      object[member] = async (...values: unknown[]) => {
        const { sender = "" } = values.pop() as Message;
        try {
          return await act(values, sender);
        } catch (error) {
          const isKnown = error instanceof Failure;
          const dbusName = (isKnown && error.errno) || "org.freedesktop.DBus.Error.Failed";
          throw Object.assign(new Error(isKnown ? error.message : "it failed"), { dbusName });
        }
      };
    }
    for (const [member, [, value]] of Object.entries(properties)) object[member] = value;
    exporter.exportInterface(object, path, {
      name,
      methods: mapValues(methods, ({ takes, gives }) => [takes, gives]),
      signals: {},
      properties: mapValues(properties, ([signature]) => signature),
    });
    return (member, value) => {
      object[member] = value[1];
      if (lost) return;
      const body = [name, [[member, value]], []];
      exporter.sendSignal(path, `${bus}.Properties`, "PropertiesChanged", "sa{sv}as", body);
    };
  };
  const close = () => {
    lose(new Failure("gone", "the connection to D-Bus was closed"));
    connection.stream.destroy();
  };
  // The library asks for our name itself; this says whether we were let in.
  await speakToBus("NameHasOwner", bus).catch((error) => {
    close();
    throw error;
  });
  return { call, watch, serve, close };
}

/** Error names as they end, to what they mean. */
const kinds: readonly [RegExp, FailureKind][] = [
  [/\.(ServiceUnknown|NameHasNoOwner|UnknownMethod|UnknownObject|UnknownInterface)$/, "absent"],
  [/\.(AccessDenied|PermissionDenied|AuthFailed|InteractiveAuthorizationRequired)$/, "denied"],
  [/\.(NoReply|Timeout|TimedOut)$/, "stalled"],
  [/\.Disconnected$/, "gone"],
];

function failureOf(error: { name?: string; message: unknown }, what: string): Failure {
  const name = error.name ?? "";
  const kind = kinds.find(([pattern]) => pattern.test(name))?.[1] ?? "refused";
  return new Failure(kind, `${what}: ${String(error.message)}`, { errno: name });
}

const mapValues = <T, R>(of: Readonly<Record<string, T>>, to: (value: T) => R) =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [name, to(value)]));

/** A dictionary of variants (a{sv}) as the library hands it out, by name. */
export function dictionary(value: unknown): Record<string, unknown> {
  const entries = value as readonly [name: string, variant: [unknown, [unknown]]][];
  return Object.fromEntries(entries.map(([name, [, [inner]]]) => [name, inner]));
}

/** The properties of an object by interface. */
export type Faces = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** All objects that a service shows at its root, by path. */
export async function objectsOf(bus: Bus, destination: string): Promise<Map<string, Faces>> {
  const [found] = await bus.call({
    ...{ destination, path: "/", interface: "org.freedesktop.DBus.ObjectManager" },
    member: "GetManagedObjects",
  });
  const facesOf = (faces: [string, unknown][]) =>
    Object.fromEntries(faces.map(([name, values]) => [name, dictionary(values)]));
  const entries = found as [path: string, faces: [string, unknown][]][];
  return new Map(entries.map(([path, faces]) => [path, facesOf(faces)]));
}

export async function setProperty(
  bus: Bus,
  at: Pick<Call, "destination" | "path" | "interface">,
  name: string,
  value: readonly [signature: string, value: unknown],
): Promise<void> {
  await bus.call({
    ...{ ...at, interface: "org.freedesktop.DBus.Properties", member: "Set" },
    ...{ signature: "ssv", body: [at.interface, name, value] },
  });
}
