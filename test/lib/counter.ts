/**
 * A frame counter burnt into the luma of a picture, so that a decoded clip says which pictures of
 * the footage it holds. One row of squares, each a fortieth of the picture's width, begins one square
 * from the top left corner: light, dark, sixteen bits of the count, six check bits, dark, light. It
 * survives JPEG, H.264 and scaling; a reader that is not sure says so instead of guessing.
 */
const perWidth = 40;
const countBits = 16;
const checkBits = 6;
const squares = 2 + countBits + checkBits + 2;
const light = 235;
const dark = 16;
/** Video luma between these two is neither; the picture is a mix of two or no counter at all. */
const leastContrast = 80;

export type Size = { width: number; height: number };

/** CRC-6 (x⁶ + x + 1) of the sixteen bits: a counter that is half one picture, half the next fails. */
function check(count: number): number {
  let rest = count << checkBits;
  for (let bit = countBits + checkBits - 1; bit >= checkBits; bit--)
    if (rest & (1 << bit)) rest ^= 0b1000011 << (bit - checkBits);
  // Not zero for count 0: a dark bar must not read as a counter.
  return rest ^ 0b101101;
}

function pattern(count: number): boolean[] {
  const word = (count << checkBits) | check(count);
  const bits = Array.from({ length: countBits + checkBits }, (_, i) =>
    Boolean((word >> (countBits + checkBits - 1 - i)) & 1),
  );
  return [true, false, ...bits, false, true];
}

/** Writes `count` (0 … 65535) into a luma plane without padding between its rows. */
export function drawCounter(luma: Uint8Array, { width }: Size, count: number): void {
  const side = width / perWidth;
  // A dark frame around the row, so that a bright scene does not bleed into it.
  paint(luma, width, side / 2, side / 2, (squares + 1) * side, 2 * side, dark);
  pattern(count).forEach((on, i) => {
    if (on) paint(luma, width, (1 + i) * side, side, side, side, light);
  });
}

function paint(
  luma: Uint8Array,
  stride: number,
  x: number,
  y: number,
  width: number,
  height: number,
  value: number,
): void {
  const from = Math.round(x);
  const to = Math.round(x + width);
  for (let row = Math.round(y); row < Math.round(y + height); row++)
    luma.fill(value, row * stride + from, row * stride + to);
}

/** The count in a luma plane, or undefined where none can be read beyond doubt. */
export function readCounter(luma: Uint8Array, { width, height }: Size): number | undefined {
  const side = width / perWidth;
  if (luma.length < width * height || height < 3 * side) return undefined;
  const means = Array.from({ length: squares }, (_, i) => mean(luma, width, (1 + i) * side, side));
  const brightest = Math.max(...means);
  const darkest = Math.min(...means);
  if (brightest - darkest < leastContrast) return undefined;
  let bits = 0;
  for (const [i, value] of means.entries()) {
    const level = (value - darkest) / (brightest - darkest);
    if (level > 0.3 && level < 0.7) return undefined;
    const on = level >= 0.7;
    const frame = [true, false, false, true][[0, 1, squares - 2, squares - 1].indexOf(i)];
    if (frame !== undefined && on !== frame) return undefined;
    if (frame === undefined) bits = (bits << 1) | Number(on);
  }
  const count = bits >> checkBits;
  return check(count) === (bits & ((1 << checkBits) - 1)) ? count : undefined;
}

/** Mean of the middle half of a square, where neighbours do not reach. */
function mean(luma: Uint8Array, stride: number, x: number, side: number): number {
  const from = Math.round(x + side / 4);
  const to = Math.max(from + 1, Math.round(x + (3 * side) / 4));
  const top = Math.round(side + side / 4);
  const bottom = Math.max(top + 1, Math.round(side + (3 * side) / 4));
  let sum = 0;
  for (let row = top; row < bottom; row++)
    for (let column = from; column < to; column++) sum += luma[row * stride + column] ?? 0;
  return sum / ((to - from) * (bottom - top));
}
