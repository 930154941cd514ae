// The crate `seal` as a module of wasm, which `cargo xtask wasm` builds. Loaded when it is needed first, and once.

let loading = null;

export function wasm() {
  loading ??= load();
  loading.catch(() => { loading = null; });
  return loading;
}

async function load() {
  try {
    const seal = await import("./seal.js");
    await seal.default({ module_or_path: new URL("seal_bg.wasm", import.meta.url) });
    return seal;
  } catch (error) {
    throw new Error(`The part of the page that encrypts cannot be loaded: ${error.message}`);
  }
}
