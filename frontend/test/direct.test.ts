import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDirect, executionName } from '../src/direct.js';
import { configure } from './appsync.js';
import vectors from './vectors.json' with { type: 'json' };

const MACHINE = 'arn:aws:states:eu-north-1:123456789012:stateMachine:ServiceRequestWorkflow-dev';
const EXECUTION = 'arn:aws:states:eu-north-1:123456789012:execution:ServiceRequestWorkflow-dev:service-request-r1';
const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', sessionToken: 'session' };

interface Call {
  readonly action: string;
  readonly input: Record<string, unknown>;
  readonly authorization: string;
}
let calls: Call[];
let answer: (call: Call) => { status?: number; body: unknown } | 'cut';
let close: () => Promise<unknown>;
let endpoint: string;
const direct = () => createDirect({ stateMachineArn: MACHINE, clientConfig: { endpoint, maxAttempts: 1 } });

beforeEach(async () => {
  calls = [];
  answer = ({ action }) => ({
    body: action === 'StartExecution' ? { executionArn: EXECUTION, startDate: 0 } : { status: 'RUNNING' },
  });
  // as Step Functions answers: https://docs.aws.amazon.com/step-functions/latest/apireference/CommonErrors.html
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const action = String(request.headers['x-amz-target']).replace('AWSStepFunctions.', '');
      const call = { action, input: JSON.parse(text), authorization: String(request.headers.authorization) };
      calls.push(call);
      const said = answer(call);
      if (said === 'cut') return void request.socket.destroy();
      response.writeHead(said.status ?? 200, { 'content-type': 'application/x-amz-json-1.0' });
      response.end(JSON.stringify(said.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  configure('http://127.0.0.1:1/graphql', () => null, CREDENTIALS);
});
afterEach(() => close());

test.each(Object.entries(vectors.executionNames))('%j is named as the stream names it', async (id, name) => {
  expect(await executionName(id)).toBe(name);
});

test('starts the execution that the stream would start, with the credentials of the session', async () => {
  expect(await direct().start('r1')).toBe(EXECUTION);
  expect(calls).toEqual([
    {
      action: 'StartExecution',
      input: { stateMachineArn: MACHINE, name: 'service-request-r1', input: '{"requestId":"r1"}' },
      authorization: expect.stringContaining('Credential=AKIDEXAMPLE/'),
    },
  ]);
  // the region is the machine's
  expect(calls[0]!.authorization).toContain('/eu-north-1/states/aws4_request');
});

test('what the stream has started already is started', async () => {
  answer = () => ({ status: 400, body: { __type: 'ExecutionAlreadyExists', message: 'Execution Already Exists' } });
  expect(await direct().start('r1')).toBe(EXECUTION);
});

test('follows an execution to its end, and asks for nothing but its description', async () => {
  let reads = 0;
  answer = () => ({
    body: ++reads === 1 ? { status: 'RUNNING' } : { status: 'SUCCEEDED', output: '{"outcome":"DECLINED"}' },
  });
  const seen = [];
  for await (const { value } of direct().watchExecution(EXECUTION)) seen.push(value);

  expect(seen).toEqual([
    { executionArn: EXECUTION, status: 'RUNNING', output: undefined },
    { executionArn: EXECUTION, status: 'SUCCEEDED', output: '{"outcome":"DECLINED"}' },
  ]);
  expect(new Set(calls.map(({ action }) => action))).toEqual(new Set(['DescribeExecution']));
});

test.each([
  ['AccessDeniedException', 400, 'NotAllowed'],
  ['ThrottlingException', 400, 'Throttled'],
  ['ExecutionLimitExceeded', 400, 'Throttled'],
  ['ExpiredTokenException', 403, 'SignedOut'],
  ['UnrecognizedClientException', 403, 'SignedOut'],
  ['StateMachineDoesNotExist', 400, 'NotFound'],
  ['InvalidName', 400, 'Refused'],
  ['InternalFailure', 500, 'Unavailable'],
])('%s', async (__type, status, kind) => {
  answer = () => ({ status, body: { __type, message: __type } });
  await expect(direct().start('r1')).rejects.toMatchObject({ name: 'HourBankError', kind });
});

test('no connection', async () => {
  answer = () => 'cut';
  await expect(direct().start('r1')).rejects.toMatchObject({ kind: 'Offline' });
  const watching = direct().watchExecution(EXECUTION);
  expect((await watching.next()).value).toMatchObject({ value: undefined, trouble: { kind: 'Offline' } });
  await watching.return();
});

test('nobody is signed in: nothing is sent', async () => {
  configure('http://127.0.0.1:1/graphql', () => null);
  await expect(direct().start('r1')).rejects.toMatchObject({ kind: 'SignedOut' });
  expect(calls).toEqual([]);
});

test.each(['', 'ServiceRequestWorkflow-dev', EXECUTION])('%j is not a machine', (stateMachineArn) => {
  expect(() => createDirect({ stateMachineArn })).toThrow(/is not the ARN of a state machine/);
});
