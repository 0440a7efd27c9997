import { toHex } from "../../src/base/pure/bytes.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { removePhone } from "../../src/phone/remove.ts";
import type { Wrapped } from "../../src/phone/vault.ts";
import type { Kept } from "../fakes/camera.ts";
import { circleWorld, join, type Phone } from "./circle.ts";

export type Objects = ReadonlyMap<string, Kept>;
/** The mailbox at a time, and each phone's home. */
type Moment = {
  what: string;
  objects: Objects;
  homes: ReadonlyMap<string, Wrapped>;
  /** How often each phone has handed out keys. */
  batches: ReadonlyMap<string, number>;
};
type ClipTruth = { id: string; recipients: readonly string[]; madeAt: number; deletedAt?: number };
export type History = { moments: Moment[]; clips: ClipTruth[]; other: Objects };

/** Lives a camera's and two phones' life once, and keeps every moment of it. */
export async function live(): Promise<History> {
  const { objects, camera, ada } = await circleWorld();
  const moments: Moment[] = [];
  const clips: ClipTruth[] = [];
  const phones: Phone[] = [ada];
  let members = ["Ada"];
  const mark = (what: string) => {
    const homes = phones.flatMap(({ name, home }): [string, Wrapped][] => {
      const last = home.all.at(-1);
      return last ? [[name, { key: last.key.slice(), sealed: last.sealed.slice() }]] : [];
    });
    const batches = phones.map((phone) => [phone.name, phone.camera().batch] as const);
    moments.push({
      ...{ what, objects: new Map(objects.all), homes: new Map(homes) },
      batches: new Map(batches),
    });
  };
  const record = async () => {
    const clip = await camera.record();
    clips.push({ id: toHex(clip), recipients: [...members], madeAt: moments.length });
    mark("record");
  };
  const all = async (what: string) => {
    for (const phone of phones) {
      await phone.tend();
      mark(`${phone.name} ${what}`);
    }
    await camera.work();
    mark("the camera works");
  };
  await ada.tend();
  mark("begin");
  await record();
  await record();
  await all("looks");
  const ben = await join(ada, camera, "Ben");
  phones.push(ben);
  members = ["Ada", "Ben"];
  mark("Ben joins");
  await record();
  await record();
  await all("looks");
  const { survey: seen } = await ada.tend();
  const gone = clips[2];
  const chosen = seen.clips.filter(({ id }) => toHex(id) === gone?.id);
  await deleteClips(chosen, {
    ...ada.options(),
    camera: ada.camera(),
    survey: seen,
    link: objects.link,
  });
  if (gone) gone.deletedAt = moments.length;
  mark("Ada deletes");
  await all("after the deletion");
  await all("confirms");
  await record();
  await all("looks");
  const { journal } = await ada.look();
  await removePhone(ben.key, { vault: ada.vault, camera: ada.camera(), journal });
  await ada.tend();
  mark("Ada removes Ben");
  await camera.work();
  members = ["Ada"];
  mark("Ben is removed");
  await record();
  await ada.tend();
  mark("Ada looks");
  const { objects: other, camera: stranger } = await circleWorld();
  await stranger.record();
  return { moments, clips, other: new Map(other.all) };
}
