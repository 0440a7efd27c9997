import * as assert from "uvu/assert";
import { outcome, plugCamera, sessionOf } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

const controls = [
  { name: "Brightness", type: "integer" as const, most: 255, standard: 128 },
  { name: "Exposure, Dynamic Framerate", type: "boolean" as const, most: 1 },
  {
    name: "Power Line Frequency",
    type: "menu" as const,
    most: 2,
    menu: ["Disabled", "50 Hz", "60 Hz"],
  },
  { name: "Fixed (by maker)", type: "integer" as const, most: 5, writable: false },
];

suite("controls", (test) => {
  test("listed by the names of v4l2-ctl, with ranges and menus", async () => {
    await using session = sessionOf(plugCamera({ controls }));
    await session.open();
    const list = await session.capture.controls();
    assert.equal(
      list.map(({ name, type }) => [name, type]),
      [
        ["brightness", "integer"],
        ["exposure_dynamic_framerate", "boolean"],
        ["power_line_frequency", "menu"],
        ["fixed_by_maker", "integer"],
      ],
    );
    assert.equal(list[2]?.menu, [
      { value: 0, name: "Disabled" },
      { value: 1, name: "50 Hz" },
      { value: 2, name: "60 Hz" },
    ]);
    assert.equal(
      [list[0]?.least, list[0]?.most, list[0]?.standard, list[0]?.value],
      [0, 255, 128, 128],
    );
    assert.is(list[3]?.writable, false);
  });

  test("set, got, and refused with what would be right", async () => {
    const camera = plugCamera({ controls });
    await using session = sessionOf(camera);
    const { capture } = session;
    await session.open();
    assert.is(await capture.setControl("brightness", 200), 200);
    assert.is(await capture.getControl("brightness"), 200);
    assert.is(camera.state().controls.Brightness, 200);
    for (const [name, value, kind, hint] of [
      ["brightness", 999, "refused", /0 to 255/],
      ["fixed_by_maker", 1, "refused", /0 to 5/],
      ["brighness", 1, "refused", /it has brightness, exposure_dynamic_framerate/],
    ] as const) {
      const error = await capture.setControl(name, value).then(
        () => undefined,
        (thrown: Error & { kind: string; hint: string }) => thrown,
      );
      assert.is(error?.kind, kind);
      assert.match(error?.hint ?? "", hint);
    }
    camera.fail("VIDIOC_S_CTRL", "EIO");
    assert.is(await outcome(() => capture.setControl("brightness", 3)), "stalled");
    camera.fail("VIDIOC_G_CTRL", "ENODEV", { after: 4 });
    assert.is(await outcome(() => capture.getControl("brightness")), "gone");
  });

  test("while pictures flow", async () => {
    const camera = plugCamera({ controls });
    camera.behave({ fps: 300 });
    await using session = sessionOf(camera);
    await session.open();
    for (let value = 0; value < 40; value++) await session.capture.setControl("brightness", value);
    assert.is(await session.capture.getControl("brightness"), 39);
    assert.is(session.ends.length, 0);
  });
});
