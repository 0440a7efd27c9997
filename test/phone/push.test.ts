import { createECDH, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import webpush from "web-push";
import { isFailure } from "../../src/base/pure/failure.ts";
import { newBrowserKeys, openBody } from "../../src/phone/cli/ece.ts";
import { readPushSubscription } from "../../src/phone/cli/subscription.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { openBody as openElsewhere } from "../lib/ece.ts";
import { fuzz } from "../lib/fuzz.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { pairedWorld, phone } from "./world.ts";

await ready();
const b64 = (text: string) => new Uint8Array(Buffer.from(text, "base64url"));
const slow = { deadlineMs: 600_000 };

suite("obscura-phone push", (test) => {
  test("the example of RFC 8291, appendix A", () => {
    const keys = {
      secret: b64("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"),
      p256dh: b64(
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
      ),
      auth: b64("BTBZMqHH6r4Tts7J_aSIgg"),
    };
    const body = b64(
      "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml" +
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT" +
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
    );
    const plain = openBody(body, keys);
    const text = "When I grow up, I want to be a watermelon";
    assert.is(Buffer.from(plain ?? []).toString(), text);
    const curve = createECDH("prime256v1");
    curve.setPrivateKey(keys.secret);
    assert.is(Buffer.from(openElsewhere(body, curve, keys.auth)).toString(), text);
    assert.is(openBody(body, newBrowserKeys()), null);
  });

  test("what the camera's library encrypts, of any length, is opened here and by http_ece alike", () => {
    for (let i = 0; i < 40; i++) {
      const keys = newBrowserKeys();
      const plain = new Uint8Array(randomBytes(1 + i * 100));
      const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
      const { cipherText } = webpush.encrypt(
        base64(keys.p256dh),
        base64(keys.auth),
        Buffer.from(plain),
        "aes128gcm",
      );
      const body = new Uint8Array(cipherText);
      assert.equal(openBody(body, keys), plain);
      const curve = createECDH("prime256v1");
      curve.setPrivateKey(keys.secret);
      assert.equal(openElsewhere(body, curve, keys.auth), plain);
    }
  });

  test(
    "fuzz: a message from anywhere opens, or is for others, or is none",
    () => {
      const keys = newBrowserKeys();
      const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
      const seeds = [1, 40, 1924].map((count) => {
        const plain = Buffer.from(randomBytes(count));
        const { p256dh, auth } = keys;
        return new Uint8Array(
          webpush.encrypt(base64(p256dh), base64(auth), plain, "aes128gcm").cipherText,
        );
      });
      fuzz({
        ...{ name: "push body", seeds, count: 20_000 },
        decode: (bytes) => openBody(bytes, keys),
        reaches: ["taken", "body"],
      });
    },
    slow,
  );

  test("what is no push subscription is said to be none, and its address is not shown", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "subscription.json");
    const { p256dh, auth } = newBrowserKeys();
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
    const keys = { p256dh: base64(p256dh), auth: base64(auth) };
    const endpoint = "https://push.example/SECRET-capability";
    const why = async (text: string) => {
      await writeFile(file, text);
      try {
        await readPushSubscription(file);
      } catch (error) {
        assert.ok(isFailure(error, "misuse"), String(error));
        assert.not.match(error.message, /SECRET/);
        return error.message;
      }
      return "taken";
    };
    const all = (change: object) => JSON.stringify({ endpoint, keys, ...change });
    const off = p256dh.with(40, (p256dh[40] ?? 0) ^ 1);
    const table: [string, RegExp][] = [
      [all({}), /^taken$/],
      [all({ expirationTime: null, later: [1] }), /^taken$/],
      [all({ keys: { ...keys, auth: `${keys.auth}==` } }), /^taken$/],
      [all({ endpoint: "https://PUSH.example:443/SECRET" }), /^taken$/],
      ["", /not JSON/],
      ["{", /not JSON/],
      ["null", /no endpoint/],
      ["[]", /no endpoint/],
      ['"x"', /no endpoint/],
      [all({ endpoint: 7 }), /no endpoint/],
      [all({ endpoint: "" }), /not the address/],
      [all({ endpoint: "SECRET" }), /not the address/],
      [all({ endpoint: "ftp://push.example/SECRET" }), /not the address/],
      [all({ endpoint: "https://me:SECRET@push.example/a" }), /not the address/],
      [all({ endpoint: "https://push.example/a#SECRET" }), /not the address/],
      [all({ endpoint: `https://push.example/SECRET${"a".repeat(800)}` }), /not the address/],
      [all({ keys: undefined }), /keys.p256dh is not base64/],
      [all({ keys: { ...keys, p256dh: 1 } }), /keys.p256dh is not base64/],
      [all({ keys: { ...keys, p256dh: "" } }), /keys.p256dh is not base64/],
      [all({ keys: { ...keys, p256dh: "AAAA" } }), /no point of P-256/],
      [all({ keys: { ...keys, p256dh: base64(off) } }), /no point of P-256/],
      [all({ keys: { ...keys, auth: "AAAA" } }), /3 bytes of auth, not 16/],
      [all({ keys: { ...keys, auth: "ü" } }), /keys.auth is not base64/],
      [" ".repeat(17_000), /too long/],
    ];
    for (const [text, expected] of table)
      assert.match(await why(text), expected, text.slice(0, 90));
  });

  test(
    "what is asked in a wrong way is misuse; what is no message is said to be none",
    async () => {
      await using world = await pairedWorld();
      await using folder = await temporaryFolder();
      const misuses = [
        ...[["push"], ["push", "fly"], ["push", "on"], ["push", "open"], ["push", "list", "x"]],
        ["push", "on", "--subscription", "a", "--endpoint", "b"],
        ["push", "off", "--endpoint", "https://push.example/a"],
        ["push", "list", "--picture", "a.jpg"],
        ["push", "on", "x", "--endpoint", "https://push.example/a"],
        ["push", "on", "--endpoint", "not an address"],
      ];
      for (const args of misuses) {
        const { code, out, err } = await phone(world.home, ...args);
        assert.equal([code, out], [2, ""], `${args.join(" ")}: ${err}`);
        assert.match(err, /^obscura-phone: /);
      }
      const file = join(folder.path, "body");
      const open = async (bytes: Uint8Array) => {
        await writeFile(file, bytes);
        const { code, err } = await phone(world.home, "push", "open", file);
        return `${code} ${err}`;
      };
      assert.match(
        await open(Buffer.from("hello")),
        /^1 .*for no subscription whose keys are here/s,
      );
      assert.match(
        await open(new Uint8Array(1924)),
        /^1 .*(?:not as a camera sends it|no subscription)/s,
      );
      assert.match(await open(new Uint8Array(70_000)), /^2 .*too long/s);
      const none = await world.run("push", "list", "--json");
      assert.equal(JSON.parse(none.out).subscriptions, []);
      const off = await world.run("push", "off");
      assert.match(`${off.code} ${off.err}`, /^1 .*this phone has no subscription/s);
    },
    slow,
  );
});
