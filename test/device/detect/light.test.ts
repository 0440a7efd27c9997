import { is, ok } from "uvu/assert";
import { createLight } from "../../../src/device/detect/light.ts";
import { suite } from "../../lib/suite.ts";

const size = { width: 64, height: 48 };
const unit = 9;
const near = (value: number, wanted: number, slack: number) =>
  ok(Math.abs(value - wanted) <= slack, `${value} is not ${wanted} ± ${slack}`);

/** A scene of two halves; `change` makes the picture of it, in steps of luma. */
function fitted(
  change: (level: number, i: number) => number,
  levels: [number, number] = [60, 160],
) {
  const scene = new Float32Array(size.width * size.height);
  for (let i = 0; i < scene.length; i++) {
    scene[i] = unit * ((levels[i < scene.length / 2 ? 0 : 1] ?? 0) + (((i * 37) % 11) - 5));
  }
  const picture = Uint16Array.from(scene, (value, i) => unit * change(value / unit, i));
  const light = createLight({ ...size, unit });
  light.fit(picture, scene);
  return light;
}

suite("light", (test) => {
  test("the same light is no change", () => {
    const light = fitted((level) => level);
    near(light.gain, 1, 0.01);
    near(light.level, 0, unit);
    near(light.grain, 0, unit / 2);
  });

  test("gain and offset of the whole picture are found", () => {
    for (const [gain, offset] of [
      [1, 20],
      [1, -30],
      [0.6, 0],
      [1.4, 10],
    ] as const) {
      const light = fitted((level) => level * gain + offset);
      near(light.gain, gain, 0.02);
      near(light.offset, offset * unit, 2 * unit);
    }
  });

  test("who stands in a third of the picture does not change it", () => {
    const light = fitted((level, i) => (i % 3 === 0 ? 10 : level * 0.8));
    near(light.gain, 0.8, 0.05);
    near(light.offset, 0, 4 * unit);
  });

  test("a bare wall tells brightness and no contrast", () => {
    const light = fitted((level, i) => level + 15 + (i % 3), [128, 130]);
    is(light.gain, 1);
    near(light.offset, 16 * unit, 2 * unit);
  });

  test("grain is measured apart from the light, a small bright lamp does not count", () => {
    const noise = (i: number) => ((i * 7919) % 41) - 20; // uniform: a quarter lies beyond ± 10
    const light = fitted((level, i) => 0.7 * level + noise(i) + 30);
    near(light.grain, (10 / 0.67) * unit, 4 * unit);
    const scene = new Float32Array(size.width * size.height).fill(50 * unit);
    scene.fill(250 * unit, 0, 20);
    const picture = Uint16Array.from(scene, (value, i) => (i < 20 ? 40 * unit * (i % 6) : value));
    const lamp = createLight({ ...size, unit });
    lamp.fit(picture, scene);
    near(lamp.grain, 0, unit / 2);
    near(lamp.level, 0, unit);
  });
});
