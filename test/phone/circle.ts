import { equal } from "../../src/base/pure/bytes.ts";
import {
  acceptAnswer,
  grant,
  isJoined,
  readAnswer,
  showLink,
  takeBack,
} from "../../src/phone/add.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { answerLink, takeGrant } from "../../src/phone/join.ts";
import type { BatchSize } from "../../src/phone/keys.ts";
import { survey } from "../../src/phone/survey.ts";
import { tend } from "../../src/phone/tend.ts";
import { Vault } from "../../src/phone/vault.ts";
import type { Worth } from "../../src/phone/vouch.ts";
import { parseLink } from "../../src/protocol/sealed/link.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import type { Name } from "../../src/protocol/wire/name.ts";
import { HouseCamera, Objects } from "../fakes/camera.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { MemoryStore } from "./memory.ts";

const suite = nodeSuite;
/** Few, so that a test does not wait for keys. */
export const fewKeys: BatchSize = { oneTime: 6, days: 4 };
let now = 1_700_000_000_000;
/** A time that rises with each look. */
export const tick = () => (now += 1000);

/** A phone with its home in memory; `home.all` holds every state it was ever in. */
export class Phone {
  readonly name: string;
  readonly home = new MemoryStore();
  objects: Objects;
  vault: Vault;
  /** When it vouches for the log. */
  worth: Worth | undefined;

  constructor(name: string, objects: Objects) {
    this.name = name;
    this.objects = objects;
    this.vault = Vault.create(this.home, name);
  }

  get key(): Uint8Array {
    return this.vault.content.phoneKey;
  }

  /** Starts again from what is durable, as after a kill. */
  async restart(): Promise<void> {
    this.vault = await Vault.open(this.home);
  }

  camera(id?: Uint8Array) {
    const { cameras } = this.vault.content;
    const camera = id ? this.vault.camera(id) : cameras[0];
    if (!camera) throw new Error(`${this.name} has no such camera`);
    return camera;
  }

  async look(id?: Uint8Array) {
    const camera = this.camera(id);
    const { link } = this.objects;
    const options = { link, vault: this.vault, camera, suite, nowMs: tick() };
    return await survey({ ...options, depth: "all" });
  }

  /** A look, and what follows from it. */
  async tend(id?: Uint8Array, name = false) {
    const found = await this.look(id);
    const camera = this.camera(id);
    const { link } = this.objects;
    const { worth } = this;
    const about = { link, vault: this.vault, camera, suite, nowMs: tick(), size: fewKeys, name };
    const options = { ...about, ...(worth ? { worth } : {}) };
    return { survey: found, ...(await tend({ ...options, survey: found })) };
  }

  async looked(id?: Uint8Array) {
    return { camera: this.camera(id), journal: (await this.look(id)).journal };
  }

  options() {
    return { vault: this.vault, link: this.objects.link, suite, nowMs: tick() };
  }
}

/** A camera, and Ada who adopted it. */
export async function circleWorld(supply = fewKeys) {
  await ready();
  const objects = new Objects();
  const camera = new HouseCamera(objects);
  const ada = new Phone("Ada", objects);
  const { adoption } = await adoptCamera(ada.vault, {
    ...{ identity: camera.identity, name: undefined, nowMs: tick(), suite },
    supply,
  });
  await camera.adopt(adoption);
  const together = async (...phones: Phone[]) => {
    for (let round = 0; round < 3; round++) {
      for (const phone of phones) await phone.tend();
      await camera.work();
    }
    for (const phone of phones) await phone.tend();
  };
  return { objects, camera, ada, together };
}

/** A camera and its phones as they stand. */
export type House = {
  readonly objects: Objects;
  readonly camera: HouseCamera;
  readonly phones: readonly Phone[];
};

/** Another house that stands just so, and goes its own way from there. */
export async function copyHouse(house: House): Promise<House> {
  const objects = house.objects.copy();
  const phones: Phone[] = [];
  for (const { name, home } of house.phones) {
    const phone = new Phone(name, objects);
    phone.home.all.push(...home.all);
    await phone.restart();
    phones.push(phone);
  }
  return { objects, phones, camera: new HouseCamera(objects, "Front door", house.camera) };
}

export class Killed extends Error {}

/**
 * Ends the phones at the n-th thing that becomes durable, in a home or with whoever keeps the objects,
 * before it or behind it; what it returns calls that off, and says how many there were.
 */
export function killer(
  at: number,
  behind: boolean,
  phones: readonly Phone[],
  objects: Objects,
): () => number {
  let [count, isOver] = [0, false];
  const step = async (act: () => Promise<void>) => {
    if (isOver) return await act();
    count += 1;
    if (count === at && !behind) throw new Killed();
    await act();
    if (count === at) throw new Killed();
  };
  for (const { home } of phones) {
    const replace = home.replace.bind(home);
    home.replace = (wrapped) => step(() => replace(wrapped));
  }
  const { put, remove } = objects.link;
  Object.assign(objects.link, {
    put: (object: Parameters<typeof put>[0]) => step(() => put(object)),
    remove: (name: Name) => step(async () => remove?.(name)),
  });
  return () => {
    isOver = true;
    return count;
  };
}

/** Has a phone delete clips. */
export async function remove(phone: Phone, ...clips: Uint8Array[]): Promise<void> {
  const survey = await phone.look();
  const meant = survey.clips.filter(({ id }) => clips.some((clip) => equal(clip, id)));
  const { link } = phone.objects;
  const options = { link, vault: phone.vault, camera: phone.camera(), suite };
  await deleteClips(meant, { ...options, survey, nowMs: tick() });
}

/** Lets a new phone join by a link, to the end. */
export async function join(
  ada: Phone,
  camera: HouseCamera,
  name: string,
  role: "owner" | "viewer" = "owner",
): Promise<Phone> {
  const { text, shown } = await showLink([await ada.looked()], role, ada.options());
  const phone = new Phone(name, ada.objects);
  await answerLink(parseLink("join", text), phone.options());
  const answered = await readAnswer(shown, ada.camera(), ada.options());
  if (!answered) throw new Error("no answer");
  await acceptAnswer(shown, answered, ada.vault);
  await ada.tend();
  await camera.work();
  await grant(shown, [await ada.looked()], ada.options());
  if (!(await takeGrant(phone.options()))) throw new Error("no grant");
  await phone.tend();
  await camera.work();
  await ada.tend();
  if (!isJoined(shown, [await ada.looked()], suite)) throw new Error("not joined");
  await takeBack(shown, ada.vault);
  await ada.tend();
  await phone.tend();
  return phone;
}
