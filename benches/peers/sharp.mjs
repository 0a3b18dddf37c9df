// sharp, as a peer (mod.rs says how it is talked to): node sharp.mjs chain|clone FILE...
//
// clone: one pipeline, cloned for each rendition, as sharp's documentation shows.
// chain: decoded once, the thumbnail made from the resized picture; the fastest way known to us.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';

const sharp = createRequire(`${path.resolve(process.env.LONGSHORE_PEERS)}/`)('sharp');
sharp.concurrency(1);
sharp.cache(false);

const [mode, ...files] = process.argv.slice(2);
const jpeg = { quality: 82, chromaSubsampling: '4:2:0', optimiseCoding: false };
const inside = (width, height) => ({ width, height, fit: 'inside', withoutEnlargement: true });
const [resized, thumb] = [inside(1024, 768), inside(192, 192)];

const clone = (bytes) => {
  const source = sharp(bytes).autoOrient().keepIccProfile();
  return Promise.all([resized, thumb].map((box) => source.clone().resize(box).jpeg(jpeg).toBuffer()));
};

const chain = async (bytes) => {
  const upright = sharp(bytes).autoOrient().resize(resized).raw();
  const { data, info } = await upright.toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const source = sharp(data, { raw: { width, height, channels } });
  return [await source.clone().jpeg(jpeg).toBuffer(), await source.clone().resize(thumb).jpeg(jpeg).toBuffer()];
};

const render = { clone, chain }[mode];

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};

console.log(`sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`);
for await (const _ of readline.createInterface({ input: process.stdin })) {
  for (const file of files) {
    const name = path.basename(file);
    const bytes = fs.readFileSync(file);
    const start = cpuMs();
    try {
      await render(bytes);
      console.log(`${name}\t${(cpuMs() - start).toFixed(3)}`);
    } catch (error) {
      console.log(`${name}\terror: ${error.message.split('\n')[0]}`);
    }
  }
}
