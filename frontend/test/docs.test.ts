import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const FRONTEND = join(import.meta.dirname, '..');
const PAGE = readFileSync(join(FRONTEND, '../docs/app/frontend.md'), 'utf8');
const snippets = [...PAGE.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text]) => text!);

/** What tsc says of files that are in memory only, in this package, so that its name leads to what was built. */
function complaints(files: Map<string, string>): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    types: [],
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
  const names = [...files.keys()].filter((name) => name.endsWith('.ts'));
  return ts.getPreEmitDiagnostics(ts.createProgram(names, options, host)).map(({ file, messageText }) => {
    return `${basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

test('the snippets of docs/app/frontend.md compile in an app, and what is wrong would be found', () => {
  expect(snippets.length).toBeGreaterThan(7);
  const files = new Map(snippets.map((text, at) => [join(FRONTEND, `app/snippet-${at}.ts`), text]));
  files.set(join(FRONTEND, 'amplify_outputs.json'), '{ "version": "1.4" }');
  files.set(join(FRONTEND, 'app/amplifyconfiguration.json'), '{ "aws_project_region": "eu-west-1" }');
  files.set(
    join(FRONTEND, 'app/wrong.ts'),
    "import { createHourBank } from 'hourbank-frontend';\ncreateHourBank().respond('r1', 'accept');\n",
  );
  expect(complaints(files)).toEqual([expect.stringMatching(/^wrong\.ts: Argument of type '"accept"'/)]);
});
