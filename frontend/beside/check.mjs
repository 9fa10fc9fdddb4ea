// The package, packed as an app gets it, beside each framework that it is for, and beside none: installed, built, tested.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const FRONTEND = join(import.meta.dirname, '..');
const NPM = process.env['NPM'] ?? 'npm';
const bin = (folder, name) => join(folder, 'node_modules/.bin', name);

// what a package of each framework is compiled with, and what an app of it has
const FRAMEWORKS = [
  { sign: '@angular', sources: 'angular', compiler: 'ngc', app: 'angular.ts', test: 'angular.test.ts' },
  { sign: 'react', sources: 'react', compiler: 'tsc', app: 'react.tsx', test: 'react.test.tsx' },
];

/** What a command prints; where it fails, or says what `refused` matches, that is shown, and all ends. */
function run(folder, command, refused) {
  const { status, stdout, stderr } = spawnSync(command, { cwd: folder, encoding: 'utf8', shell: true });
  if (status === 0 && !refused?.test(stdout + stderr)) return stdout;
  console.error(`${stdout}${stderr}\n${basename(folder)}: this did not go well: ${command}`);
  process.exit(1);
}

const [archive] = JSON.parse(run(FRONTEND, `${NPM} pack --json --pack-destination beside`));
const packed = join(import.meta.dirname, archive.filename);

for (const app of process.argv.slice(2)) {
  const folder = join(import.meta.dirname, app);
  const build = join(folder, 'build');
  const installed = join(folder, 'node_modules/hourbank-frontend');
  rmSync(build, { recursive: true, force: true });
  rmSync(installed, { recursive: true, force: true });
  mkdirSync(join(build, 'test'), { recursive: true });

  // as a person does it, so that npm judges the peers; everything else is locked
  run(folder, `${NPM} install --no-save --loglevel warn ${packed}`, /peer|ERESOLVE/i);

  const framework = FRAMEWORKS.find(({ sign }) => existsSync(join(folder, 'node_modules', sign)));
  if (!framework) {
    const use = "import { parseHours } from 'hourbank-frontend'; process.exit(parseHours('0,5') === 0.5 ? 0 : 1);";
    run(folder, `node --input-type=module --eval "${use}"`);
    console.log(`${app}: the client was installed, and works`);
    continue;
  }
  const { sources, compiler, app: page, test } = framework;
  for (const name of ['src', sources, 'tsconfig.json', 'tsconfig.build.json']) {
    cpSync(join(FRONTEND, name), join(build, name), { recursive: true });
  }
  run(build, `${bin(folder, compiler)} --project tsconfig.build.json --outDir sources`);

  cpSync(join(import.meta.dirname, page), join(build, page));
  const angularCompilerOptions = { strictTemplates: true, extendedDiagnostics: { defaultCategory: 'error' } };
  // the declarations are read too: they must be true of this framework's types
  const compilerOptions = { noEmit: false, outDir: 'app', declaration: true };
  const project = { extends: './tsconfig.json', compilerOptions, angularCompilerOptions, include: [], files: [page] };
  writeFileSync(join(build, 'tsconfig.app.json'), JSON.stringify(project));
  run(build, `${bin(folder, compiler)} --project tsconfig.app.json`);

  // what an app gets was built with the oldest Angular and the newest React, and is tested with the app's
  cpSync(join(installed, 'dist'), join(build, 'dist'), { recursive: true });
  for (const name of [test, 'component-stories.ts', 'appsync.ts', 'waiting.ts', 'hangs.ts']) {
    cpSync(join(FRONTEND, 'test', name), join(build, 'test', name));
  }
  cpSync(join(FRONTEND, 'vitest.config.ts'), join(build, 'vitest.config.ts'));
  const tested = run(build, `${bin(FRONTEND, 'vitest')} run --reporter=dot`);
  console.log(`${app}: installed, built; ${/Tests.*?(\d+ passed)/.exec(tested)?.[1]}`);
}
rmSync(packed);
