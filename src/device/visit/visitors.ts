import type { Recording } from "../record/record.ts";
import type { ServiceEvent } from "../report.ts";
import type { Visit } from "./tray.ts";

/** A picture as a message may carry it. */
export type Attachment = { name: string; type: string; bytes: Uint8Array };

/** Visits that are under way, from what the stages say, up to where there is something to tell. */
export type Visitors = {
  /** A recording on its way to be sealed; nothing of it is changed or held up. */
  watch<R extends Recording>(recording: R): R;
  event(event: ServiceEvent): void;
};

type Under = {
  persons: number;
  /** Of the visit's first clip. */
  opening: Recording["opening"] | undefined;
  clip: string | undefined;
  isTold: boolean;
};

/** Visits of which something may still come. */
const mostUnder = 16;
const mostPictureBytes = 512 * 1024;

/**
 * `onVisit` is told of each visit once: when the first picture of its first clip is durable, or when
 * that clip was sealed without one. `onPictures`, where somebody wants them, is handed that clip's
 * first pictures as they are, before: they go nowhere from there but to be encrypted.
 */
export function watchVisitors(options: {
  onVisit(visit: Visit): void;
  onPictures?: ((visit: Visit, pictures: readonly Attachment[]) => void) | undefined;
}): Visitors {
  const { onVisit, onPictures } = options;
  const under = new Map<string, Under>();

  const visitOf = (
    { clip, opening, persons }: Under,
    picture: number | undefined,
  ): Visit | undefined =>
    clip && opening
      ? {
          ...{ clip, persons, picture, refusals: 0, clockTrusted: opening.clockTrusted },
          atMs: opening.wallMs + opening.preRollMs,
        }
      : undefined;
  const tell = (one: Under, picture: number | undefined) => {
    const visit = visitOf(one, picture);
    if (!visit || one.isTold) return;
    one.isTold = true;
    onVisit(visit);
  };
  /** Hands over the pictures that come in one after the other, once. */
  const takePictures = (one: Under) => {
    const pictures: Attachment[] = [];
    let isOver = false;
    return (piece: PieceOf<Recording>) => {
      if (isOver || piece.kind !== "thumbnail") return;
      const name = piece.what === "frame" ? "view.jpg" : "person.jpg";
      if (piece.bytes.length <= mostPictureBytes) {
        pictures.push({ name, type: "image/jpeg", bytes: piece.bytes });
      }
      // The whole view comes last of those that were taken together.
      if (piece.what !== "frame") return;
      isOver = true;
      const visit = visitOf(one, undefined);
      if (visit) onPictures?.(visit, pictures.splice(0));
    };
  };

  return {
    watch(recording) {
      const one = under.get(recording.incident);
      if (!one || one.opening) return recording;
      one.opening = recording.opening;
      if (!onPictures) return recording;
      return { ...recording, pieces: tapped(recording.pieces, takePictures(one)) };
    },
    event(event) {
      if (event.event === "person") {
        const { incident, persons } = event;
        under.set(incident, { persons, opening: undefined, clip: undefined, isTold: false });
        for (const old of under.keys()) if (under.size > mostUnder) under.delete(old);
      } else if (event.event === "part" || event.event === "clip") {
        // A snapshot is a clip too, and no visit.
        const one = under.get(event.incident);
        if (!one) return;
        one.clip ??= event.clip;
        if (one.clip !== event.clip) return;
        if (event.event === "clip") tell(one, undefined);
        else if (event.picture) tell(one, event.number);
      }
    },
  };
}

type PieceOf<R> = R extends { pieces: AsyncIterable<infer P> } ? P : never;

/** The same pieces, shown to `see` as they go by. */
function tapped<P>(pieces: AsyncIterable<P>, see: (piece: P) => void): AsyncIterable<P> {
  return {
    [Symbol.asyncIterator]() {
      const source = pieces[Symbol.asyncIterator]();
      return {
        async next() {
          const result = await source.next();
          if (!result.done) see(result.value);
          return result;
        },
        async return(value) {
          return (await source.return?.(value)) ?? { done: true, value };
        },
      };
    },
  };
}
