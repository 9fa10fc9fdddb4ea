// What the package adds to an app, by entry: minified by esbuild, without what the app brings; the table of a page.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const FRONTEND = join(import.meta.dirname, '..');
const PAGE = join(FRONTEND, '../docs/app/frontend.md');
const [BEGIN, END] = ['<!-- sizes -->\n', '<!-- /sizes -->'];

/** Kilobytes, minified and gzipped, of what an app gets that imports all of an entry. */
async function sizeOf(entry) {
  const {
    outputFiles: [file],
  } = await build({
    stdin: { contents: `export * from 'hourbank-frontend${entry.slice(1)}';`, resolveDir: FRONTEND },
    bundle: true,
    format: 'esm',
    minify: true,
    write: false,
    external: ['aws-amplify', 'aws-amplify/*', '@aws-sdk/*', '@angular/*', 'react', 'react/*'],
  });
  return { minified: file.contents.length / 1000, gzipped: gzipSync(file.contents, { level: 9 }).length / 1000 };
}

async function table() {
  const { exports } = JSON.parse(readFileSync(join(FRONTEND, 'package.json'), 'utf8'));
  const rows = [];
  for (const entry of Object.keys(exports).filter((one) => !/\.(css|json)$/.test(one))) {
    const { minified, gzipped } = await sizeOf(entry);
    rows.push(`| \`hourbank-frontend${entry.slice(1)}\` | ${minified.toFixed(1)} kB | ${gzipped.toFixed(1)} kB |`);
  }
  return ['| entry, with all that it imports of the package | minified | gzipped |', '|---|---|---|', ...rows, ''].join('\n');
}

if (process.argv[2] === '--print') {
  process.stdout.write(await table());
} else {
  const page = readFileSync(PAGE, 'utf8');
  const [before, rest] = page.split(BEGIN);
  writeFileSync(PAGE, `${before}${BEGIN}${await table()}${END}${rest.split(END)[1]}`);
}
