// Gives amplify/schema.graphql and amplify/data-resource.ts to Amplify's own transformer, runs the resolvers
// that it generates, and compares who may do what with authorisation.json, and the API's schema with the one that the
// stand-in of `hourbank up` makes (build/stand-in.graphql). `make check` runs it.
//
// authorisation.json: each field's type, and who gives it at creation, reads it, and changes it; `people` are the fields
// that Amplify compares with the caller's `sub`, `operations` what the API has at all, `added` the fields that Amplify
// makes up because a rule names them.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AmplifyData, AmplifyDataDefinition } from '@aws-amplify/data-construct';
import { App, Stack, aws_cognito as cognito } from 'aws-cdk-lib';
import { buildSchema, lexicographicSortSchema, printType } from 'graphql';
import { schema as dataResource } from './build/amplify/data/resource.js';
import { allows, java, plain } from './velocity.mjs';

const here = (path) => new URL(path, import.meta.url);
const EXPECTED = JSON.parse(readFileSync(here('authorisation.json'), 'utf8'));
const SCHEMAS = {
  'schema.graphql': readFileSync(here('../../amplify/schema.graphql'), 'utf8'),
  'data-resource.ts': dataResource.transform().schema,
};
// who calls; mallory's username is somebody's sub, which Amplify's default claim would take for that person
const OWNERS = { requester: 'sub-of-requester', provider: 'sub-of-provider', user: 'sub-of-user' };
const CALLERS = {
  ...Object.fromEntries(Object.entries(OWNERS).map(([name, sub]) => [name, { sub, username: `name of ${name}` }])),
  stranger: { sub: 'sub-of-stranger', username: 'name of stranger' },
  ...Object.fromEntries(Object.entries(OWNERS).map(([name, sub]) => [`named as ${name}`, { sub: `else-${name}`, username: sub }])),
};

/** The transformer's output: the API's schema, and each resolver's templates by `Type.field`. */
function transform(sdl) {
  const outdir = mkdtempSync(join(tmpdir(), 'hourbank-amplify-'));
  try {
    const app = new App({ outdir });
    const stack = new Stack(app, 'Amplify');
    const data = new AmplifyData(stack, 'Data', {
      definition: AmplifyDataDefinition.fromString(sdl),
      authorizationModes: {
        defaultAuthorizationMode: 'AMAZON_COGNITO_USER_POOLS',
        userPoolConfig: { userPool: cognito.UserPool.fromUserPoolId(stack, 'Users', 'eu-west-1_example') },
      },
    });
    const { cfnFunctionConfigurations, cfnResolvers, cfnGraphqlSchema } = data.resources.cfnResources;
    app.synth();
    const text = (stackOf, inline, location) => {
      const value = stackOf.resolve(location ?? inline);
      const asset = /([0-9a-f]{64}\.(?:vtl|graphql))/.exec(JSON.stringify(value));
      return asset ? readFileSync(join(outdir, `asset.${asset[1]}`), 'utf8') : JSON.stringify(value ?? '');
    };
    const templates = Object.fromEntries(
      Object.entries(cfnFunctionConfigurations).map(([name, one]) => [
        name,
        {
          request: text(one.stack, one.requestMappingTemplate, one.requestMappingTemplateS3Location),
          response: text(one.stack, one.responseMappingTemplate, one.responseMappingTemplateS3Location),
        },
      ]),
    );
    return {
      api: buildSchema(awsScalars(text(stack, cfnGraphqlSchema.definition, cfnGraphqlSchema.definitionS3Location))),
      resolvers: Object.keys(cfnResolvers),
      templates,
    };
  } finally {
    rmSync(outdir, { recursive: true });
  }
}

const awsScalars = (sdl) => `
  scalar AWSDateTime
  directive @aws_subscribe(mutations: [String!]!) on FIELD_DEFINITION
  directive @aws_cognito_user_pools(cognito_groups: [String!]) on FIELD_DEFINITION | OBJECT
  ${sdl}`;

const context = (caller, args, stash = {}, result = null) =>
  java({ args, result, stash: { metadata: {}, ...stash }, identity: { sub: caller.sub, username: caller.username, claims: caller } });

/** Whether a resolver lets `ctx` through; it leaves in ctx.stash the filter that it then puts on what is read. */
function decide({ templates }, resolver, ctx) {
  const slot = (name) => templates[`${resolver.replace('.', '')}${name}0Function`];
  if (!slot('auth')) throw new Error(`${resolver} has no authorisation`);
  // a default is in the input before anybody asks who may write it
  const defaults = templates[`${resolver.replace('.', '')}init1Function`];
  if (defaults && !allows(defaults.request, ctx)) return false;
  // an update is decided once the stored record is there, everything else before
  const { request, response } = slot('auth');
  return (!slot('preAuth') || allows(slot('preAuth').request, ctx)) && allows(resolver.includes('.update') ? response : request, ctx);
}

/** What one of Amplify's filters (`{or: [{field: {eq: value}}]}`) lets through of a record. */
const matches = (filter, record) =>
  filter.or.some((one) => Object.entries(one).every(([field, test]) => [test.eq, test.in].flat().includes(record[field])));

/** The people who may do something, found by letting everybody try. */
const those = (may) => Object.entries(CALLERS).filter(([, caller]) => may(caller)).map(([name]) => name);

function found(transformed, model, expected) {
  const { api, resolvers } = transformed;
  const type = api.getType(model);
  const [key] = Object.keys(expected.fields);
  const record = { [key]: 'r1', ...Object.fromEntries(Object.entries(expected.people).map(([who, field]) => [field, OWNERS[who]])) };
  const operation = (name) => resolvers.find((one) => one.split('.')[1].replace(/s$/, '') === `${name}${model}`);
  const reads = (name) => {
    if (!operation(name)) return [];
    return those((caller) => {
      const ctx = context(caller, name === 'get' ? { [key]: record[key] } : {});
      if (!decide(transformed, operation(name), ctx)) return false;
      const { authFilter } = plain(ctx.stash);
      return !authFilter || matches(authFilter, record);
    });
  };
  const hears = (name) =>
    those((caller) => {
      const ctx = context(caller, {});
      return decide(transformed, operation(name), ctx) && matches(plain(ctx.args).filter, record);
    });
  const creates = (input) => operation('create') ? those((caller) => decide(transformed, operation('create'), context(caller, { input }))) : [];
  const updates = (input, result = record) =>
    operation('update') ? those((caller) => decide(transformed, operation('update'), context(caller, { input }, {}, result))) : [];

  const report = {
    operations: ['get', 'list', 'create', 'update', 'delete', 'onCreate', 'onUpdate', 'onDelete'].filter(operation),
    fields: {},
    surprises: [],
  };
  const surprise = (what, who) => who.length && report.surprises.push(`${what}: ${who.join(', ')}`);
  const declared = Object.values(type.getFields()).filter(({ name }) => !['createdAt', 'updatedAt'].includes(name));
  const owners = Object.fromEntries(Object.values(expected.people).slice(0, 1).map((field) => [field, record[field]]));
  for (const { name, type: fieldType } of declared) {
    const value = name in record ? record[name] : 'something';
    report.fields[name] = {
      type: String(fieldType),
      create: creates({ ...owners, [name]: value }),
      read: reads('get').filter((who) => reads('list').includes(who)),
      update: name === key ? [] : updates({ [key]: 'r1', [name]: value }),
    };
    surprise(`${name} set to null by update`, name === key ? [] : updates({ [key]: 'r1', [name]: null }));
    surprise(`${name} of a record that is not there`, updates({ [key]: 'r1', [name]: value }, null));
    if (resolvers.includes(`${model}.${name}`)) surprise(`${name} has a resolver of its own`, [`${model}.${name}`]);
  }
  for (const name of report.operations.filter((one) => one.startsWith('on'))) {
    surprise(`${name} tells`, hears(name).filter((who) => !reads('get').includes(who)));
    surprise(`${name} does not tell`, reads('get').filter((who) => !hears(name).includes(who)));
  }
  for (const name of ['Create', 'Update'].map((one) => `${one}${model}Input`)) {
    const times = Object.keys(api.getType(name)?.getFields() ?? {}).filter((one) => ['createdAt', 'updatedAt'].includes(one));
    surprise(`${name} takes`, times);
  }
  return report;
}

/** How the stand-in's schema differs from Amplify's, beside having no subscriptions. */
function differencesOfStandIn({ api }) {
  const types = (schema) =>
    Object.fromEntries(
      Object.values(lexicographicSortSchema(schema).getTypeMap())
        .filter(({ name }) => !/^(__|(Model)?Subscription|AmplifyAI)/.test(name))
        .map((type) => [type.name, printType(type)]),
    );
  const [theirs, ours] = [types(api), types(buildSchema(readFileSync(here('build/stand-in.graphql'), 'utf8')))];
  const names = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])];
  return names.filter((name) => theirs[name] !== ours[name]).map((name) => `${ours[name] ?? `no ${name}`}, not ${theirs[name]}`);
}

const text = (value) => JSON.stringify(value);
const differences = [];
for (const [file, sdl] of Object.entries(SCHEMAS)) {
  let transformed;
  try {
    transformed = transform(sdl);
  } catch (error) {
    differences.push(`${file}: Amplify's transformer refuses it: ${error.message.split('\n')[0]}`);
    continue;
  }
  // the stand-in reads this file; of the other, Amplify makes lists that take the key, too
  if (file === 'schema.graphql') differences.push(...differencesOfStandIn(transformed).map((one) => `the stand-in's schema has ${one}`));
  for (const [model, { added = [], ...expected }] of Object.entries(EXPECTED)) {
    const actual = found(transformed, model, expected);
    const differs = (what, is, should) => text(is) === text(should) || differences.push(`${file}, ${model}${what}: ${text(is)}, not ${text(should)}`);
    differs("'s operations", actual.operations, expected.operations);
    differs("'s fields", Object.keys(actual.fields), [...Object.keys(expected.fields), ...added]);
    for (const [name, rules] of Object.entries(expected.fields)) differs(`.${name}`, actual.fields[name], rules);
    differences.push(...actual.surprises.map((surprise) => `${file}, ${model}: ${surprise}`));
  }
}
for (const difference of differences) console.error(difference);
if (differences.length) process.exitCode = 1;
else console.log(`${Object.keys(SCHEMAS).join(', ')}: Amplify lets everybody do what authorisation.json says, and no more`);
