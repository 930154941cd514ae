// QR codes: `seal` makes them, an SVG of the page shows them.

const MARGIN = 4;                // light modules around it, which cameras need

/** Draws a text into an svg that has a path. */
export function draw(svg, seal, text) {
  const [size, ...path] = seal.qr(text).split(" "), width = Number(size) + 2 * MARGIN;
  svg.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${width} ${width}`);
  svg.firstElementChild.setAttribute("d", path.join(" "));
}
