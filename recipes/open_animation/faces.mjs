// node faces.mjs OUT COUNT STYLE[,STYLE...]: COUNT people, five drawings each (eyes and mouth change, the rest holds).
// Run in the folder that holds node_modules.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const load = (name) => import(pathToFileURL(createRequire(process.cwd() + '/').resolve(name)));
const { createAvatar } = await load('@dicebear/core');
const styles = await load('@dicebear/collection');
const [out, count, names] = [process.argv[2], +process.argv[3], process.argv[4].split(',')];
fs.mkdirSync(out, { recursive: true });
const credit = Object.fromEntries(names.map((n) => [n, { creator: styles[n].meta.creator, title: styles[n].meta.title, licence: styles[n].meta.license?.name ?? 'unknown' }]));
fs.writeFileSync(`${out}/credit.json`, JSON.stringify(credit));

let state = 7; // a small generator of our own: the same faces on every machine
const draw = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
const skins = ['ffe8d6', 'fbdcc4', 'f2c9a5', 'd9a066', '8d5524'];
const hairs = ['2b1d1a', '5a3a28', 'c9753d', 'e8c35a', '3b4a7a', 'b0476b', 'd8d8e8', '7a3b8f', '2f6f5f'];

for (let i = 0; i < count; i++) {
  const name = names[i % names.length];
  const properties = styles[name].schema.properties;
  const choices = (key) => properties[key]?.items?.enum ?? [];
  const colours = (key, list) => (properties[key] ? { [key]: [list[draw(list.length)]] } : {});
  const look = { ...colours('skinColor', skins), ...colours('hairColor', hairs), ...colours('baseColor', skins) };
  const eyes = [draw(999), draw(999)];
  const mouths = [draw(999), draw(999), draw(999)];
  for (let frame = 0; frame < 5; frame++) {
    const pick = { seed: `person ${i}`, size: 400, ...look };
    for (const key of ['eyes']) if (choices(key).length) pick[key] = [choices(key)[eyes[frame === 4 ? 1 : 0] % choices(key).length]];
    for (const key of ['mouth', 'lips', 'face']) if (choices(key).length) pick[key] = [choices(key)[mouths[frame % 3] % choices(key).length]];
    fs.writeFileSync(`${out}/${name}_${i}_${frame}.svg`, createAvatar(styles[name], pick).toString());
  }
}
