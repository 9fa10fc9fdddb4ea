// Puts an app's backend together as `npx ampx sandbox` does, where its trigger is bundled with esbuild, and finds the bundle.
// As a program: node bundle.mjs FOLDER, of an app whose TypeScript nobody has compiled; it prints the bundle's path.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

/** What CloudFormation gets of an app's sign-in, and the file that its trigger runs from. */
export async function putTogether(app) {
  const outdir = join(app, 'cdk.out');
  // where ampx runs: esbuild, and the lock of the packages, are looked for from here
  process.chdir(app);
  process.env.CDK_OUTDIR = outdir;
  process.env.CDK_CONTEXT_JSON = JSON.stringify({
    'amplify-backend-namespace': 'hourbank',
    'amplify-backend-name': 'check',
    'amplify-backend-type': 'sandbox',
  });
  await import(pathToFileURL(join(app, 'amplify/backend.js')));
  process.emit('message', 'amplifySynth');
  const made = readdirSync(outdir);
  const [template] = made.filter((name) => /auth\w{8}\.nested\.template\.json$/.test(name));
  const { Resources } = JSON.parse(readFileSync(join(outdir, template), 'utf8'));
  const bundles = made
    .map((asset) => join(outdir, asset, 'index.mjs'))
    .filter((file) => existsSync(file) && readFileSync(file, 'utf8').includes('GRANT_HOURS_FUNCTION'));
  if (bundles.length !== 1) throw new Error(`${bundles.length} bundles of the trigger in ${outdir}`);
  return { resources: Resources, bundle: bundles[0] };
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = resolve(argv[2]);
  const sources = readdirSync(join(app, 'amplify'), { recursive: true }).filter((name) => name.endsWith('.ts'));
  const entryPoints = sources.map((name) => join(app, 'amplify', name));
  await build({ entryPoints, outbase: app, outdir: app, format: 'esm', logLevel: 'error' });
  const print = console.log;
  // Amplify's own words
  console.log = console.error;
  print((await putTogether(app)).bundle);
}
