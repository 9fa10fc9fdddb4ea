// What npm would publish, read as bundlers and TypeScript read it: publint, and "are the types wrong" (attw).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FRONTEND = join(import.meta.dirname, '..');
const NPM = process.env['NPM'] ?? 'npm';
const bin = (name) => join(FRONTEND, 'node_modules/.bin', name);
const { exports } = JSON.parse(readFileSync(join(FRONTEND, 'package.json'), 'utf8'));
const modules = Object.keys(exports).filter((entry) => !/\.(css|json)$/.test(entry));

function run(command) {
  const { status, stdout, stderr } = spawnSync(command, { cwd: FRONTEND, encoding: 'utf8', shell: true });
  if (status === 0) return stdout;
  console.error(`${stdout}${stderr}\nthe package is not what it should be: ${command}`);
  process.exitCode = 1;
  return undefined;
}

const folder = mkdtempSync(join(tmpdir(), 'hourbank-package-'));
try {
  const answer = run(`${NPM} pack --json --pack-destination '${folder}'`);
  if (answer) {
    const [{ filename, files }] = JSON.parse(answer);
    const there = new Set(files.map(({ path }) => path));
    const needed = ['README.md', 'LICENSE', ...Object.values(exports).flatMap((one) => (typeof one === 'string' ? [one] : Object.values(one)))];
    const missing = needed.filter((path) => !there.has(path.replace(/^\.\//, '')));
    if (missing.length > 0) {
      console.error(`the package lacks ${missing.join(', ')}`);
      process.exitCode = 1;
    }
    console.log('publint; attw');
    run(`'${bin('publint')}' run '${join(folder, filename)}' --strict`);
    // ESM alone is what it is: node10 knows no exports, and require() is not for it
    run(`'${bin('attw')}' '${join(folder, filename)}' --profile esm-only --no-emoji --entrypoints ${modules.join(' ')}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
