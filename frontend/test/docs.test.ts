import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const FRONTEND = join(import.meta.dirname, '..');
const PAGE = readFileSync(join(FRONTEND, '../docs/app/frontend.md'), 'utf8');
const snippets = [...PAGE.matchAll(/^```(tsx?)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind: kind!, text: text! }));

/** What tsc says of files that are in memory only, in this package, so that its name leads to what was built. */
function complaints(files: Map<string, string>): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    types: [],
    jsx: ts.JsxEmit.ReactJSX,
    strict: true,
    resolveJsonModule: true,
    experimentalDecorators: true,
    skipLibCheck: true,
    noEmit: true,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.directoryExists = () => true;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, target) => {
    const text = host.readFile(name);
    return text === undefined ? undefined : ts.createSourceFile(name, text, target);
  };
  const names = [...files.keys()].filter((name) => /\.tsx?$/.test(name));
  return ts.getPreEmitDiagnostics(ts.createProgram(names, options, host)).map(({ file, messageText }) => {
    return `${basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

test('the snippets of docs/app/frontend.md compile in an app, and what is wrong would be found', () => {
  expect(snippets.length).toBeGreaterThan(7);
  const files = new Map<string, string>(snippets.map(({ kind, text }, at) => [join(FRONTEND, `app/snippet-${at}.${kind}`), text]));
  files.set(join(FRONTEND, 'amplify_outputs.json'), '{ "version": "1.4" }');
  files.set(join(FRONTEND, 'app/amplifyconfiguration.json'), '{ "aws_project_region": "eu-west-1" }');
  files.set(
    join(FRONTEND, 'app/wrong.ts'),
    "import { createHourBank } from 'hourbank-frontend';\ncreateHourBank().respond('r1', 'accept');\n",
  );
  expect(complaints(files)).toEqual([expect.stringMatching(/^wrong\.ts: Argument of type '"accept"'/)]);
});

test('the sizes on the page are those of the package', () => {
  const [, said] = /<!-- sizes -->\n(.*?)<!-- \/sizes -->/s.exec(PAGE)!;
  const numbers = (text: string): number[] => [...text.matchAll(/([\d.]+) kB/g)].map(([, number]) => Number(number));
  const found = execFileSync('node', [join(FRONTEND, 'tools/sizes.mjs'), '--print'], { encoding: 'utf8' });
  const words = (text: string): string => text.replace(/[\d.]+ kB/g, '');
  expect(words(said!)).toBe(words(found));
  // a tenth of a kilobyte, or what another zlib makes of it
  numbers(found).forEach((number, at) => expect(Math.abs(numbers(said!)[at]! - number)).toBeLessThan(0.3));
});
