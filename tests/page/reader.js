// Reads a QR code (ISO/IEC 18004) module by module, as far as this project makes them: up to version 12, one segment of digits or of
// bytes. It corrects nothing: what is drawn has no faults.

const LEVELS = ["M", "L", "H", "Q"];                                  // as the two bits of the format number them
const CORRECTION = {                                                   // codewords of each block, by version
  L: [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24], M: [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22],
  Q: [13, 22, 18, 26, 18, 24, 18, 22, 20, 24, 28, 26], H: [17, 28, 22, 16, 22, 28, 26, 26, 24, 28, 24, 28],
};
const BLOCKS = {
  L: [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4], M: [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8],
  Q: [1, 1, 2, 2, 4, 4, 6, 6, 8, 8, 8, 10], H: [1, 1, 2, 4, 4, 4, 5, 6, 8, 8, 11, 11],
};
const MASKS = [
  (x, y) => (x + y) % 2, (_, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3, (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3), (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** The text in rows of modules, without their margin; true: dark. */
export function read(rows) {
  const size = rows.length, version = (size - 17) / 4, at = (x, y) => Number(rows[y][x]);
  const format = [[8, 0], [8, 1], [8, 2], [8, 3], [8, 4], [8, 5], [8, 7], [8, 8], [7, 8], [5, 8], [4, 8], [3, 8], [2, 8], [1, 8], [0, 8]];
  const kind = (format.reduce((bits, [x, y], i) => bits | (at(x, y) << i), 0) ^ 0x5412) >> 10, level = LEVELS[kind >> 3];
  const isFixed = fixed(size, version), mask = MASKS[kind & 7], bits = [];
  for (let right = size - 1, up = true; right > 0; right -= right === 8 ? 3 : 2, up = !up) {
    for (let i = 0; i < size; i++) {
      const y = up ? size - 1 - i : i;
      for (const x of [right, right - 1]) if (!isFixed(x, y)) bits.push(at(x, y) ^ Number(mask(x, y) === 0));
    }
  }
  const words = Array.from({ length: Math.floor(bits.length / 8) }, (_, i) => number(bits, i * 8, 8));
  return text(blocks(words, CORRECTION[level][version - 1], BLOCKS[level][version - 1]), version);
}

/** Which modules are no content. */
function fixed(size, version) {
  const count = Math.floor(version / 7) + 2, step = version === 1 ? 0 : Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const places = version === 1 ? [] : [6, ...Array.from({ length: count - 1 }, (_, i) => size - 7 - i * step)];
  const isFinder = (x, y) => (x < 9 && y < 9) || (x > size - 9 && y < 9) || (x < 9 && y > size - 9);
  const isAligned = (x, y) => places.some((a) => places.some((b) => !isFinder(a, b) && Math.abs(x - a) < 3 && Math.abs(y - b) < 3));
  const isVersion = (x, y) => version > 6 && ((x < 6 && y > size - 12) || (y < 6 && x > size - 12));
  return (x, y) => x === 6 || y === 6 || isFinder(x, y) || isVersion(x, y) || isAligned(x, y);
}

/** The codewords of the blocks, of which one after the other gave one. */
function blocks(words, correction, count) {
  const short = Math.floor(words.length / count) - correction, long = words.length % count, all = Array.from({ length: count }, () => []);
  let next = 0;
  for (let i = 0; i <= short; i++) all.forEach((block, n) => { if (i < short || n >= count - long) block.push(words[next++]); });
  return all.flat();
}

function text(words, version) {
  const bits = words.flatMap((word) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (word >> bit) & 1)), mode = number(bits, 0, 4);
  if (mode === 4) {
    const width = version < 10 ? 8 : 16, length = number(bits, 4, width);
    return new TextDecoder().decode(Uint8Array.from({ length }, (_, i) => number(bits, 4 + width + i * 8, 8)));
  }
  if (mode !== 1) throw new Error(`a segment of kind ${mode}`);
  const width = version < 10 ? 10 : 12;
  let left = number(bits, 4, width), from = 4 + width, digits = "";
  for (; left > 0; left -= 3) {
    const some = Math.min(left, 3), taken = [0, 4, 7, 10][some];
    digits += String(number(bits, from, taken)).padStart(some, "0");
    from += taken;
  }
  return digits;
}

function number(bits, from, count) { return bits.slice(from, from + count).reduce((sum, bit) => sum * 2 + bit, 0); }
