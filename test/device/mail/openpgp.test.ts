import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { explain, isFailure } from "../../../src/base/pure/failure.ts";
import { encryptTo, readKeys } from "../../../src/device/mail/openpgp.ts";
import { holds, openMailed, pictures } from "../../lib/mailed.ts";
import { until } from "../../lib/mosquitto.ts";
import { endGpg, field, makeGpg, partsOf, startPost, whyNoGpg } from "../../lib/smtp.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

async function refusal(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
  } catch (error) {
    assert.ok(isFailure(error), String(error));
    return `${error.kind}: ${explain(error)}`;
  }
  return "taken";
}

const dayMs = 24 * 3_600_000;
const why = await whyNoGpg();

suite("device/mail/openpgp", (test) => {
  test(
    "words and pictures of a visit in one message that GnuPG decrypts, and nothing outside",
    async () => {
      for (const algorithm of ["ed25519", "rsa2048"]) {
        await using at = await openMailed();
        await using post = await startPost();
        const gpg = await makeGpg(at.state, algorithm);
        const key = join(at.state, "owner.asc");
        await writeFile(key, gpg.publicKey);
        const mail = await at.open({ port: post.port, picture: "openpgp", key });
        const clip = await at.visit(mail, { persons: 2 });
        await until("told", () => post.messages.length === 1);
        await mail.close();
        const { raw } = post.messages[0] ?? { raw: "" };
        for (const secret of ["Porch", clip.slice(0, 12), "somebody", "Persons"]) {
          assert.not(raw.includes(secret), secret);
        }
        for (const picture of Object.values(pictures)) assert.not(holds(raw, picture));
        // RFC 3156, section 4.
        assert.match(field(raw, "content-type") ?? "", /^multipart\/encrypted;/);
        assert.match(field(raw, "content-type") ?? "", /protocol="application\/pgp-encrypted"/);
        const [control, content, ...others] = partsOf(raw);
        assert.is(control?.type, "application/pgp-encrypted");
        assert.is(control?.body.toString().trim(), "Version: 1");
        assert.is(content?.type, "application/octet-stream");
        assert.equal(others, []);
        const inner = partsOf(await gpg.decrypt(content?.body.toString("latin1") ?? ""));
        await endGpg(at.state);
        const [text, person, view, ...more] = inner;
        assert.equal(more, []);
        const words = text?.body.toString() ?? "";
        assert.match(words, /^Porch: somebody is there$/m);
        assert.match(words, /^Persons: 2$/m);
        assert.match(words, new RegExp(`^Clip: {4}${clip}$`, "m"));
        assert.equal([person?.type, view?.type], ["image/jpeg", "image/jpeg"]);
        assert.ok(person?.body.equals(Buffer.from(pictures.person)));
        assert.ok(view?.body.equals(Buffer.from(pictures.view)));
        assert.match(at.said.notes.join(), /words and picture encrypted by OpenPGP/);
      }
    },
    { skip: why },
  );

  test(
    "a key that cannot be used any more: nothing goes out, and the owner is told",
    async () => {
      await using at = await openMailed();
      await using post = await startPost();
      const gpg = await makeGpg(at.state);
      const key = join(at.state, "owner.asc");
      await writeFile(key, "nothing of the kind");
      const mail = await at.open({ port: post.port, picture: "openpgp", key });
      await at.visit(mail);
      await until("told", () =>
        at.said.faults.some((text) => text?.includes("holds no OpenPGP key")),
      );
      assert.is(post.messages.length, 0);
      // Mended: it is sent then, in words, for no plain picture was kept for it.
      await writeFile(key, gpg.publicKey);
      await until("sent", () => post.messages.length === 1, { patienceMs: 100_000 });
      await mail.close();
      const content = partsOf(post.messages[0]?.raw ?? "")[1]?.body.toString("latin1") ?? "";
      const inner = partsOf(await gpg.decrypt(content));
      await endGpg(at.state);
      assert.is(inner.length, 1);
      assert.match(inner[0]?.body.toString() ?? "", /obscura-phone thumbnail/);
    },
    { skip: why },
  );

  test(
    "files that hold no public key, too many, or one to which nothing can be encrypted",
    async () => {
      await using folder = await temporaryFolder();
      const gpg = await makeGpg(folder.path);
      const file = join(folder.path, "key.asc");
      const attempt = async (text: string | Buffer, wallMs?: number) => {
        await writeFile(file, text);
        return await refusal(() => readKeys(file, wallMs));
      };
      assert.match(await refusal(() => readKeys(join(folder.path, "none"))), /^absent: .*ENOENT/);
      assert.is(await attempt(gpg.publicKey), "taken");
      // A board whose clock was not set, and one whose clock is of a later day.
      assert.is(await attempt(gpg.publicKey, 0), "taken");
      assert.is(await attempt(gpg.publicKey, Date.now() + 9 * 365 * dayMs), "taken");
      const held = await attempt(gpg.privateKey);
      assert.match(held, /^misuse: .*private key of [0-9A-F]{16}.*stays with its owner/);
      for (const text of ["", "hello", Buffer.from([0xff, 0xfe]), gpg.publicKey.slice(0, 200)]) {
        assert.match(await attempt(text), /^misuse: .*holds no OpenPGP key/);
      }
      assert.match(await attempt("x".repeat(600 * 1024)), /^misuse: .*too long/);
      const flipped = Buffer.from(gpg.publicKey);
      flipped[200] = flipped[200] === 0x41 ? 0x42 : 0x41;
      assert.match(await attempt(flipped), /^misuse/);
      // The part that is for encryption has expired; then the whole of it.
      const parts = await gpg.edit("--quick-set-expire", gpg.fingerprint, "2", "*");
      assert.is(await attempt(parts), "taken");
      const expired = await attempt(parts, Date.now() + 3 * dayMs);
      assert.match(expired, /^misuse: nothing can be encrypted to key [0-9A-F]{16} .*expired/);
      const whole = await gpg.edit("--quick-set-expire", gpg.fingerprint, "2");
      assert.match(
        await attempt(whole, Date.now() + 3 * dayMs),
        /^misuse: nothing can be encrypted/,
      );
      await endGpg(folder.path);
    },
    { skip: why },
  );

  test(
    "several people open one message",
    async () => {
      await using one = await temporaryFolder();
      await using two = await temporaryFolder();
      const [first, second] = [await makeGpg(one.path), await makeGpg(two.path, "rsa2048")];
      const files = [first, second].map(({ publicKey }) => publicKey);
      const both = [];
      for (const [i, text] of files.entries()) {
        const file = join(one.path, `${i}.asc`);
        await writeFile(file, text);
        both.push(...(await readKeys(file)));
      }
      const file = join(one.path, "both.asc");
      const [ours, theirs] = files;
      // As exported one behind the other, with what people write between them.
      for (const text of [`${ours}${theirs}`, `mine:\r\n${ours}\nhers:\n${theirs}\n`]) {
        await writeFile(file, text);
        const keys = await readKeys(file);
        assert.is(keys.length, 2);
        for (const all of [both, keys]) {
          const armoured = await encryptTo(all, Buffer.from("for both"));
          assert.is(await first.decrypt(armoured), "for both");
          assert.is(await second.decrypt(armoured), "for both");
        }
      }
      // Whatever stands second is looked at as what stands first.
      const attempt = async (more: string) => {
        await writeFile(file, `${ours}${more}`);
        return await refusal(() => readKeys(file));
      };
      assert.match(await attempt(second.privateKey), /private key of [0-9A-F]{16}/);
      assert.match(await attempt(theirs?.slice(0, 300) ?? ""), /something that is no OpenPGP key/);
      assert.is(await attempt("and a word"), "taken");
      for (const { path } of [one, two]) await endGpg(path);
    },
    { skip: why },
  );
});
