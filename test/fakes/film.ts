import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The top-level boxes of an MP4, cut into initialisation and fragments. */
export type FilmPieces = { init: Uint8Array; fragments: Uint8Array[] };

/** A moving test picture as the recorder would make it: H.264 in fragments of half a second. */
export async function testFilm({ seconds = 3, width = 320, height = 240, fps = 10 } = {}) {
  const { stdout } = await run(
    "ffmpeg",
    [
      ...["-v", "error", "-f", "lavfi", "-i", `testsrc2=size=${width}x${height}:rate=${fps}`],
      ...["-t", String(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"],
      ...["-bf", "0", "-force_key_frames", "expr:gte(t,n_forced*0.5)"],
      ...["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "-"],
    ],
    { encoding: "buffer", maxBuffer: 64 * 1024 * 1024 },
  );
  return cutFilm(stdout);
}

export function cutFilm(film: Uint8Array): FilmPieces {
  const view = Buffer.from(film);
  const init: Buffer[] = [];
  const fragments: Buffer[] = [];
  for (let at = 0; at < view.length; ) {
    const length = view.readUInt32BE(at);
    const type = view.toString("latin1", at + 4, at + 8);
    const box = view.subarray(at, at + length);
    if (type === "ftyp" || type === "moov") init.push(box);
    else if (type === "moof") fragments.push(box);
    else if (type === "mdat") fragments.push(Buffer.concat([fragments.pop() ?? box, box]));
    at += length;
  }
  return { init: Buffer.concat(init), fragments };
}
