// Puts the sample app's backend together, and sees that Cognito calls the trigger and what that may do. Then runs the example
// triggers of amplify/first-hours, the one of Gen 2 as Amplify bundles it, as Cognito does, against a stand-in for Lambda on
// this machine: what each asks for, of whom, and that nothing that goes wrong there fails a sign-up. `make check` runs it,
// after the export and tsc.
import { createServer } from 'node:http';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { putTogether } from './bundle.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const problems = [];
const same = (what, is, should) => {
  if (JSON.stringify(is) !== JSON.stringify(should)) problems.push(`${what}: ${JSON.stringify(is)}, not ${JSON.stringify(should)}`);
};

const { resources, bundle } = await putTogether(here('build/app'));
const of = (type) => Object.entries(resources).filter(([, { Type }]) => Type === type);
const [[id, { Properties: made }], ...more] = of('AWS::Lambda::Function');
same('functions of the sign-in', more, []);
const [[, { Properties: pool }]] = of('AWS::Cognito::UserPool');
same('what Cognito calls', pool.LambdaConfig, { PostConfirmation: { 'Fn::GetAtt': [id, 'Arn'] } });
same('the function that the trigger is told', made.Environment.Variables.GRANT_HOURS_FUNCTION, 'hourbank-grantHours-dev');
const [role] = made.Role['Fn::GetAtt'];
const rights = of('AWS::IAM::Policy').filter(([, { Properties }]) => Properties.Roles.some(({ Ref }) => Ref === role));
const place = ['arn:', { Ref: 'AWS::Partition' }, ':lambda:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }];
const arn = { 'Fn::Join': ['', [...place, ':function:hourbank-grantHours-dev']] };
same(
  'what the trigger may do',
  rights.map(([, { Properties }]) => Properties.PolicyDocument.Statement),
  [[{ Action: 'lambda:InvokeFunction', Effect: 'Allow', Resource: arn }]],
);
same('what Lambda starts', made.Handler, 'index.handler');

const asked = [];
let status = 202;
const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts).toString();
    asked.push({ url: request.url, type: request.headers['x-amz-invocation-type'], body: body && JSON.parse(body) });
    response.writeHead(status, { 'x-amzn-errortype': 'ResourceNotFoundException' }).end('{}');
  });
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
Object.assign(process.env, {
  AWS_ENDPOINT_URL_LAMBDA: `http://127.0.0.1:${server.address().port}`,
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'local',
  AWS_SECRET_ACCESS_KEY: 'local',
  GRANT_HOURS_FUNCTION: 'hourbank-grantHours-dev',
  ENV: 'dev',
});

const event = (triggerSource) => ({ triggerSource, userName: 'ana', request: { userAttributes: { sub: 'sub-of-ana' } }, response: {} });
const signUp = event('PostConfirmation_ConfirmSignUp');
const grant = {
  url: '/2015-03-31/functions/hourbank-grantHours-dev/invocations',
  type: 'Event',
  body: { userId: 'sub-of-ana', hours: '10', reason: 'welcome' },
};

for (const [file, path] of [
  ['the bundle of gen2/handler.ts', bundle],
  ['gen1/custom.js', here('build/first-hours/custom.js')],
]) {
  const module = await import(pathToFileURL(path));
  const handler = module.handler ?? module.default.handler;
  const call = async (given, answer) => {
    [asked.length, status] = [0, answer];
    const answered = await handler(given, {}, () => {});
    return [answered, [...asked]];
  };
  same(`${file}, a sign-up`, await call(signUp, 202), [signUp, [grant]]);
  const reset = event('PostConfirmation_ConfirmForgotPassword');
  same(`${file}, a password that was reset`, await call(reset, 202), [reset, []]);
  const told = [];
  const outer = console.error;
  console.error = (line) => told.push(line);
  same(`${file}, no such function`, await call(signUp, 404), [signUp, [grant]]);
  console.error = outer;
  same(`${file}, what it logs then`, told, ['no first hours for sub-of-ana: hourbank grant --to sub-of-ana gives them']);
}
server.close();

for (const problem of problems) console.error(problem);
if (!problems.length) {
  console.log('amplify/first-hours: both triggers, the one of Gen 2 as Amplify bundles it, ask for the hours of a sign-up, and of nothing else');
}
// a timer that Amplify puts into each bundle would keep this process
process.exit(problems.length ? 1 : 0);
