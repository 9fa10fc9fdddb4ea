// Runs the example triggers of amplify/first-hours as Cognito does, against a stand-in for Lambda on this machine, and
// sees what each asks for, of whom, and that nothing that goes wrong there fails a sign-up. `make check` runs it.
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { App, Stack, aws_lambda as lambda } from 'aws-cdk-lib';
import { letGrantHours } from './build/app/auth/post-confirmation/resource.js';

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

const problems = [];
const same = (what, is, should) => {
  if (JSON.stringify(is) !== JSON.stringify(should)) problems.push(`${what}: ${JSON.stringify(is)}, not ${JSON.stringify(should)}`);
};
const event = (triggerSource) => ({ triggerSource, userName: 'ana', request: { userAttributes: { sub: 'sub-of-ana' } }, response: {} });
const signUp = event('PostConfirmation_ConfirmSignUp');
const grant = {
  url: '/2015-03-31/functions/hourbank-grantHours-dev/invocations',
  type: 'Event',
  body: { userId: 'sub-of-ana', hours: '10', reason: 'welcome' },
};

for (const file of ['app/auth/post-confirmation/handler.js', 'first-hours/custom.js']) {
  const module = await import(`./build/${file}`);
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

const app = new App({ outdir: fileURLToPath(new URL('build/trigger', import.meta.url)) });
const stack = new Stack(app, 'auth');
const code = lambda.Code.fromInline('exports.handler = async (event) => event;');
const trigger = new lambda.Function(stack, 'Trigger', { runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code });
letGrantHours({ postConfirmation: { resources: { lambda: trigger } } }, 'dev');
const { Resources } = app.synth().getStackByName('auth').template;
const [policy, ...more] = Object.values(Resources).filter(({ Type }) => Type === 'AWS::IAM::Policy');
const place = ['arn:', { Ref: 'AWS::Partition' }, ':lambda:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }];
const arn = { 'Fn::Join': ['', [...place, ':function:hourbank-grantHours-dev']] };
same('what the trigger may do', [policy?.Properties.PolicyDocument.Statement, more], [[{ Action: 'lambda:InvokeFunction', Effect: 'Allow', Resource: arn }], []]);
const [told] = Object.values(Resources).filter(({ Type }) => Type === 'AWS::Lambda::Function');
same('what it is told', told.Properties.Environment.Variables, { GRANT_HOURS_FUNCTION: 'hourbank-grantHours-dev' });

for (const problem of problems) console.error(problem);
if (problems.length) process.exitCode = 1;
else console.log('amplify/first-hours: both triggers ask for the hours of a sign-up, and of nothing else');
