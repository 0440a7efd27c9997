import {
  BufferSource,
  BufferTarget,
  EncodedPacketSink,
  EncodedVideoPacketSource,
  Input,
  MP4,
  Mp4OutputFormat,
  Output,
} from "mediabunny";
import { concat } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

/** A film for any player. */
export type Film = {
  readonly bytes: Uint8Array;
  readonly seconds: number;
  readonly pictures: number;
  readonly width: number;
  readonly height: number;
};

/**
 * Makes one plain MP4, its index in front, out of an initialisation and the fragments that belong
 * to it. Nothing is encoded again: each picture keeps its bytes and its time.
 */
export async function makeFilm(init: Uint8Array, fragments: readonly Uint8Array[]): Promise<Film> {
  const input = new Input({
    source: new BufferSource(concat([init, ...fragments])),
    formats: [MP4],
  });
  const track = await input.getPrimaryVideoTrack();
  const codec = track?.codec;
  const config = await track?.getDecoderConfig();
  if (!track || !codec || !config) {
    throw new Failure("corrupt", "this clip holds no video that is known here", { stage: "video" });
  }
  const output = new Output({
    format: new Mp4OutputFormat({ fastStart: "in-memory" }),
    target: new BufferTarget(),
  });
  const source = new EncodedVideoPacketSource(codec);
  output.addVideoTrack(source);
  await output.start();
  let pictures = 0;
  let first: number | undefined;
  let end = 0;
  for await (const packet of new EncodedPacketSink(track).packets()) {
    first ??= packet.timestamp;
    const timestamp = packet.timestamp - first;
    await source.add(packet.clone({ timestamp }), { decoderConfig: config });
    pictures += 1;
    end = Math.max(end, timestamp + packet.duration);
  }
  if (pictures === 0) {
    throw new Failure("corrupt", "this clip was cut off before its first picture", {
      stage: "video",
    });
  }
  await output.finalize();
  const { buffer } = output.target;
  if (!buffer) throw new Failure("corrupt", "no film came out of this clip", { stage: "video" });
  const { codedWidth: width, codedHeight: height } = track;
  const seconds = Math.round(end * 1e6) / 1e6;
  return { bytes: new Uint8Array(buffer), seconds, pictures, width, height };
}
