import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { equal, is, match } from "uvu/assert";
import { openLink, whyNoLink } from "../lib/link.ts";
import { suite } from "../lib/suite.ts";
import { isUp, openTrio } from "../lib/trio.ts";
import { patiently } from "./world.ts";

// One network of the two has an address of its own, by which all in it hear each other's multicasts.
const why = await whyNoLink();

suite("phone on the local network", (test) => {
  test(
    "a relay that moved is found by what it announces, without a word of the phone's owner",
    async () => {
      await using link = await openLink();
      const settings = "quota: { headroomMiB: 0 }\nannounce: true";
      const { trio, relay } = await openTrio({
        by: () => link.by("relay"),
        relay: { host: link.host, port: 8470, settings },
      });
      await using _ = trio;
      const camera = trio.courier({ clips: 2 });
      await camera.until(/^sent/m);
      const clips = async () => {
        const { code, out, err } = await patiently(() => trio.phone("clips", "--json"));
        is(code, 0, err);
        return (JSON.parse(out) as { clips: { id: string }[] }).clips.map(({ id }) => id);
      };
      const before = await clips();
      is(before.length, 2);

      await relay.end("SIGTERM");
      const nobody = await trio.phone("clips");
      is(nobody.code, 1);
      match(nobody.err, /8470/);

      const config = join(trio.path, "relay.yaml");
      await writeFile(config, (await readFile(config, "utf8")).replaceAll("8470", "8499"));
      await trio.relay().until(isUp);
      equal(await clips(), before);
    },
    { skip: why, deadlineMs: 400_000 },
  );
});
