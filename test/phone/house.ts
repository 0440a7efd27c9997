import {
  acceptAnswer,
  grant,
  isJoined,
  readAnswer,
  showLink,
  takeBack,
} from "../../src/phone/add.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { answerLink, takeGrant } from "../../src/phone/join.ts";
import { loadLedger, type Shelf } from "../../src/phone/ledger.ts";
import type { Link } from "../../src/phone/link.ts";
import { drawKit, grantKit, installKit } from "../../src/phone/recovery.ts";
import { survey } from "../../src/phone/survey.ts";
import { tend } from "../../src/phone/tend.ts";
import { Vault, type Wrapped } from "../../src/phone/vault.ts";
import { parseLink, type SecretLink } from "../../src/protocol/sealed/link.ts";
import { HouseCamera, Objects } from "../fakes/camera.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { fewKeys } from "./circle.ts";
import { MemoryStore } from "./memory.ts";

// A house: two cameras with a mailbox each, phones of all roles, a kit. Lived once up to some stages,
// of which each schedule goes on from a copy.

const suite = nodeSuite;
const names = ["Door", "Garden"] as const;

/** A phone whose home is in memory; `store.all` holds every state that it was ever in. */
export class Resident {
  readonly name: string;
  readonly store = new MemoryStore();
  readonly ids: readonly Uint8Array[];
  /** What it has read of the logs. */
  readonly pages = new Map<string, Uint8Array>();
  vault: Vault;

  private constructor(name: string, ids: readonly Uint8Array[], vault?: Vault) {
    this.name = name;
    this.ids = ids;
    this.vault = vault ?? Vault.create(this.store, name);
  }

  static fresh(name: string, ids: readonly Uint8Array[]): Resident {
    return new Resident(name, ids);
  }

  static async from(
    name: string,
    ids: readonly Uint8Array[],
    { key, sealed, pages }: Home,
  ): Promise<Resident> {
    const resident = new Resident(name, ids);
    for (const [page, bytes] of pages) resident.pages.set(page, bytes);
    resident.store.all.push({ key: key.slice(), sealed: sealed.slice() });
    await resident.restart();
    return resident;
  }

  /** Starts again from what is durable, as after a kill. */
  async restart(): Promise<void> {
    this.vault = await Vault.open(this.store);
  }

  camera(i: number) {
    const camera = this.vault.camera(this.ids[i] ?? new Uint8Array());
    if (!camera) throw new Error(`${this.name} has no camera ${i}`);
    return camera;
  }

  get key(): Uint8Array {
    return this.vault.content.phoneKey;
  }

  options(i: number, link: Link, nowMs: number) {
    return { link, vault: this.vault, camera: this.camera(i), suite, nowMs };
  }

  get shelf(): Shelf {
    return {
      read: async (name: string) => this.pages.get(name),
      write: async (name: string, bytes: Uint8Array) => void this.pages.set(name, bytes),
    };
  }

  look(i: number, link: Link, nowMs: number, depth: "all" | "new") {
    return survey({ ...this.options(i, link, nowMs), depth, shelf: this.shelf });
  }

  /** The newest entry that it keeps: newer than the vault's where that alone was put back. */
  async keptTo(i: number): Promise<number> {
    const { vault, shelf } = this;
    const kept = await loadLedger({ vault, shelf, camera: this.camera(i) });
    return kept.at(-1)?.sequence ?? -1;
  }

  /** A look, and what follows from it; `name` tells the other phones how far the log went. */
  async tend(
    i: number,
    link: Link,
    nowMs: number,
    { depth = "all", name = false }: { depth?: "all" | "new"; name?: boolean } = {},
  ) {
    const found = await this.look(i, link, nowMs, depth);
    const options = { ...this.options(i, link, nowMs), size: fewKeys, name };
    return { found, ...(await tend({ ...options, survey: found })) };
  }
}

/** What a phone keeps: its vault, and what it has read of the logs. */
export type Home = Wrapped & { readonly pages: ReadonlyMap<string, Uint8Array> };

/** A house as it was at a time. */
export type Stage = {
  readonly what: string;
  readonly cameras: readonly HouseCamera[];
  readonly homes: ReadonlyMap<string, Home>;
  /** Clips of each camera, with the phones that they were sealed to in hexadecimal. */
  readonly clips: readonly ReadonlyMap<string, readonly string[]>[];
  readonly paper: SecretLink | undefined;
  readonly nowMs: number;
};

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Lives a house up to its last stage, and keeps each. */
export async function liveHouse(): Promise<Stage[]> {
  let nowMs = 1_700_000_000_000;
  const tick = () => (nowMs += 60_000);
  const cameras = names.map((name) => new HouseCamera(new Objects(), name));
  const ids = cameras.map(({ id }) => id);
  const linkOf = (i: number): Link => (cameras[i] as HouseCamera).objects.link;
  const ada = Resident.fresh("Ada", ids);
  const residents = [ada];
  const clips = cameras.map(() => new Map<string, readonly string[]>());
  const stages: Stage[] = [];
  let paper: SecretLink | undefined;

  const each = async (act: (camera: HouseCamera, i: number) => Promise<unknown>) => {
    for (const [i, camera] of cameras.entries()) await act(camera, i);
  };
  const all = async () => {
    for (const one of residents) await each((_, i) => one.tend(i, linkOf(i), tick()));
    await each((camera) => camera.work());
  };
  const looked = async () => {
    const found = [];
    for (const i of cameras.keys()) {
      const { journal } = await ada.look(i, linkOf(i), tick(), "all");
      found.push({ camera: ada.camera(i), journal });
    }
    return found;
  };
  const record = (i: number) => recordIn(cameras[i] as HouseCamera, clips[i] ?? new Map());
  const mark = async (what: string) => {
    const homes = residents.flatMap(({ name, store, pages }): [string, Home][] => {
      const last = store.all.at(-1);
      if (!last) return [];
      const vault = { key: last.key.slice(), sealed: last.sealed.slice() };
      return [[name, { ...vault, pages: new Map(pages) }]];
    });
    stages.push({
      ...{ what, homes: new Map(homes), nowMs, paper },
      cameras: cameras.map((camera) => new HouseCamera(camera.objects.copy(), "", camera)),
      clips: clips.map((one) => new Map(one)),
    });
  };
  const join = async (name: string, role: "owner" | "viewer") => {
    const meeting = { vault: ada.vault, link: linkOf(0), suite };
    const { text, shown } = await showLink(await looked(), role, { ...meeting, nowMs: tick() });
    const phone = Resident.fresh(name, ids);
    const own = { vault: phone.vault, link: linkOf(0), suite };
    await answerLink(parseLink("join", text), { ...own, nowMs: tick() });
    const answered = await readAnswer(shown, ada.camera(0), { ...meeting, nowMs: tick() });
    if (!answered) throw new Error("no answer");
    await acceptAnswer(shown, answered, ada.vault);
    await all();
    await grant(shown, await looked(), { ...meeting, nowMs: tick() });
    if (!(await takeGrant({ ...own, nowMs: tick() }))) throw new Error("no grant");
    residents.push(phone);
    for (let round = 0; round < 2; round++) await all();
    if (!isJoined(shown, await looked(), suite)) throw new Error("not joined");
    await takeBack(shown, ada.vault);
    await all();
  };

  await each(async (camera) => {
    const { adoption } = await adoptCamera(ada.vault, {
      ...{ identity: camera.identity, name: undefined, nowMs: tick(), suite, supply: fewKeys },
    });
    await camera.adopt(adoption);
  });
  await record(0);
  await all();
  await mark("Ada alone");
  await join("Ben", "owner");
  await record(0);
  await record(1);
  await all();
  await mark("Ada and Ben");
  await join("Cleo", "viewer");
  await record(1);
  await mark("a viewer too");
  paper = drawKit(ada.camera(0));
  await installKit(paper, await looked(), { vault: ada.vault, suite });
  await all();
  await all();
  await grantKit(paper, await looked(), { vault: ada.vault, link: linkOf(0), suite, nowMs });
  await record(0);
  await all();
  await mark("a kit too");
  return stages;
}

/** Records, and notes to whom: the phones of the list, in hexadecimal. */
export async function recordIn(
  camera: HouseCamera,
  clips: Map<string, readonly string[]>,
): Promise<string> {
  const recipients = camera.members?.head.members.map(({ phone }) => hex(phone)) ?? [];
  const clip = hex(await camera.record({ short: true }));
  clips.set(clip, recipients);
  return clip;
}
