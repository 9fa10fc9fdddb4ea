// Synthesises gen2/backend.ts, an app's backend with the exported workflows in it, with Amplify's own packages, and sees
// that every resource of the export is there and gets the app's tables. `make check` runs it, after the export and tsc.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { App, Stack, aws_dynamodb as dynamodb } from 'aws-cdk-lib';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
const outdir = here('build/out');
const problems = [];

// what `npx ampx sandbox` tells the program that it starts
process.env.CDK_OUTDIR = outdir;
process.env.CDK_CONTEXT_JSON = JSON.stringify({
  'amplify-backend-namespace': 'hourbank',
  'amplify-backend-name': 'check',
  'amplify-backend-type': 'sandbox',
});
const { addWorkflows, environmentOf } = await import('./build/amplify/workflows/resource.js');
await import('./build/amplify/backend.js');
process.emit('message', 'amplifySynth');

const exported = json(here('build/amplify/workflows/template.json'));
const [file] = readdirSync(outdir).filter((name) => /hourbank\w{8}\.nested\.template\.json$/.test(name));
const made = json(join(outdir, file));
for (const [id, { Type }] of Object.entries(exported.Resources)) {
  if (made.Resources[id]?.Type !== Type) problems.push(`${id}, a ${Type}, is not in the backend`);
}
for (const name of Object.keys(exported.Parameters)) {
  if (made.Parameters?.[name]) problems.push(`the parameter ${name} has no value`);
}
const variables = made.Resources.ProcessEscrowRelease.Properties.Environment.Variables;
for (const [name, model] of Object.entries({
  SERVICE_REQUEST_TABLE_NAME: 'ServiceRequest',
  ESCROW_TABLE_NAME: 'Escrow',
  USER_BALANCE_TABLE_NAME: 'UserBalance',
  TRANSACTION_LOG_TABLE_NAME: 'TransactionLog',
})) {
  if (!JSON.stringify(variables[name]).includes(`amplifyData${model}NestedStack`)) problems.push(`${name} is not ${model}'s table`);
}

const good = { environment: 'dev', startRequestsFrom: '2026-01-01T00:00:00Z' };
const refusal = (options, models = ['ServiceRequest', 'Escrow', 'UserBalance', 'TransactionLog']) => {
  const app = new App({ autoSynth: false, outdir: here('build/refused') });
  const stack = new Stack(app, 'Data');
  const tables = Object.fromEntries(
    models.map((model) => [
      model,
      new dynamodb.Table(stack, model, {
        partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING },
        stream: dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
      }),
    ]),
  );
  try {
    addWorkflows({ createStack: (name) => new Stack(app, name), data: { resources: { tables } } }, options);
  } catch (error) {
    return error.message;
  }
};
const expected = [
  [refusal(good), undefined],
  [refusal({ ...good, environment: 'feature/x' }), "hourbank: environment is 'feature/x': 1 to 15 lowercase letters and digits, beginning with a letter"],
  [refusal({ ...good, environment: undefined }), 'hourbank: environment is undefined: 1 to 15 lowercase letters and digits, beginning with a letter'],
  [refusal({ ...good, startRequestsFrom: 'today' }), "hourbank: startRequestsFrom is 'today': an ISO 8601 time with offset"],
  [refusal({ ...good, startRequestsFrom: '2027-02-29T00:00Z' }), "hourbank: startRequestsFrom is '2027-02-29T00:00Z': an ISO"],
  [refusal({ ...good, startRequestsFrom: '2028-02-29T00:00Z' }), undefined],
  [
    refusal({ ...good, providerResponseTimeoutSeconds: 59 }),
    'hourbank: providerResponseTimeoutSeconds is 59: a whole number from 60 to 2592000',
  ],
  [refusal({ ...good, logRetentionDays: 31 }), 'hourbank: logRetentionDays is 31: one of 1, 3, 5,'],
  [refusal(good, ['ServiceRequest']), "hourbank: the backend's data has no model Escrow"],
];
for (const [is, should] of expected) {
  if (should ? !is?.startsWith(should) : is) problems.push(`addWorkflows says ${is}, not ${should}`);
}

const branches = ['main', 'dev', 'feature/x', 'feature-x', 'Feature/x', 'featurex', '2026-fix', '---', '✓', 'release/2026-01-01', 'release/2026-01-02'];
const environments = branches.map(environmentOf);
if (environments.slice(0, 2).join() !== 'main,dev') problems.push(`main and dev are ${environments.slice(0, 2)}`);
if (new Set(environments).size < branches.length) problems.push(`branches collide: ${environments}`);
for (const environment of environments) {
  if (refusal({ ...good, environment })) problems.push(refusal({ ...good, environment }));
}
const warned = [];
console.warn = (line) => warned.push(line);
refusal({ ...good, startRequestsFrom: '2099-01-01T00:00:00Z' });
if (!warned[0]?.startsWith('hourbank: startRequestsFrom is 2099-01-01T00:00:00Z: until then')) problems.push(`warned: ${warned}`);

for (const problem of problems) console.error(problem);
if (problems.length) process.exitCode = 1;
else console.log(`a Gen 2 backend has all ${Object.keys(exported.Resources).length} resources of the export`);
