import * as assert from "uvu/assert";
import { equal, toHex } from "../../src/base/pure/bytes.ts";
import { unwrapVault, Vault } from "../../src/phone/vault.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { fuzz } from "../lib/fuzz.ts";
import { suite } from "../lib/suite.ts";
import { film, type Kept, MemoryStore, memoryWorld } from "./memory.ts";

await ready();

const rounds = Number(process.env.OBSCURA_KEEPER_ROUNDS ?? 400);

/** xorshift32, so that a failing round can be had again. */
function generator(seed: number) {
  let state = seed | 0 || 1;
  return (below: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

suite("survey", (test) => {
  test(
    "whatever a keeper does to the objects, nothing of it passes for well and nothing throws",
    async () => {
      const { camera, objects, look } = await memoryWorld();
      await camera.record({ film });
      await camera.record({ film, key: "day" });
      await camera.say({ kind: "problem", code: "x", text: "x" });
      await camera.beacon();
      const before = await look();
      assert.ok(before.well);
      const good = new Map(objects);
      const kinds = new Map<string, number>();
      for (let round = 1; round <= rounds; round++) {
        objects.clear();
        for (const [name, object] of good) objects.set(name, object);
        const done = spoil(objects, generator(round * 7919));
        const found = await look();
        const what = `round ${round}: ${done}`;
        assert.not.ok(found.well, what);
        for (const { kind, severity } of found.faults) {
          if (severity !== "note") kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        }
        // What is shown as whole is what was recorded.
        for (const clip of found.clips.filter(({ state }) => state === "whole")) {
          const same = before.clips.find(({ id }) => equal(id, clip.id));
          assert.is(
            clip.parts.map(({ hash }) => toHex(hash)).join(),
            same?.parts.map(({ hash }) => toHex(hash)).join(),
            what,
          );
        }
      }
      const list = [...kinds].sort((a, b) => b[1] - a[1]).map(([kind, n]) => `${kind} ${n}`);
      console.log(`measured: ${rounds} spoilt outboxes, all found: ${list.join(", ")}`);
      objects.clear();
      for (const [name, object] of good) objects.set(name, object);
      assert.ok((await look()).well);
    },
    { deadlineMs: 300_000 },
  );

  test("two clips may be open at once, until the camera starts anew", async () => {
    const { camera, look } = await memoryWorld();
    await camera.record({ film, end: "open" });
    await camera.record({ film, end: "open" });
    assert.ok((await look()).well);
    await camera.start();
    assert.is((await look()).faults.filter(({ severity }) => severity === "loss").length, 2);
  });

  test("fuzz of the vault's file", async () => {
    const store = new MemoryStore();
    const vault = Vault.create(store, "Ada");
    await vault.save();
    const [wrapped] = store.all;
    assert.ok(wrapped);
    const { key, sealed } = wrapped;
    fuzz({
      name: "vault",
      seeds: [sealed],
      decode: (bytes) => unwrapVault({ key, sealed: bytes }),
      reaches: ["version", "length", "vault"],
    });
  });
});

/** One thing that a hostile or failing keeper does; says which. */
function spoil(objects: Map<string, Kept>, random: (below: number) => number): string {
  const names = [...objects.keys()];
  const pick = () => names[random(names.length)] as string;
  const change = (name: string, edit: (bytes: Uint8Array) => Uint8Array) => {
    const object = objects.get(name) as Kept;
    objects.set(name, { ...object, bytes: edit(Uint8Array.from(object.bytes)) });
  };
  // The beacon may be missing: it only bounds how long something goes unseen.
  const victim = () => {
    for (;;) {
      const name = pick();
      if (name !== "beacon") return name;
    }
  };
  switch (random(6)) {
    case 0: {
      const name = victim();
      objects.delete(name);
      return `${name} withheld`;
    }
    case 1: {
      const name = pick();
      change(name, (bytes) => {
        const at = random(bytes.length);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        return bytes;
      });
      return `${name} flipped`;
    }
    case 2: {
      const name = pick();
      change(name, (bytes) => bytes.slice(0, random(bytes.length)));
      return `${name} cut`;
    }
    case 3: {
      const name = pick();
      change(name, (bytes) => Buffer.concat([bytes, Uint8Array.of(random(256))]));
      return `${name} made longer`;
    }
    case 4: {
      const name = victim();
      let other = victim();
      while (other === name) other = victim();
      const bytes = (objects.get(other) as Kept).bytes;
      change(name, () => bytes);
      return `${name} replaced by ${other}`;
    }
    default: {
      const entries = names.filter((name) => name.startsWith("entry")).sort();
      const from = 1 + random(entries.length - 1);
      for (const name of entries.slice(from)) objects.delete(name);
      return `log ends before ${printName((objects.get(entries[0] as string) as Kept).name)} + ${from}`;
    }
  }
}
