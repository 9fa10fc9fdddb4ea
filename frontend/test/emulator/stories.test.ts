import { beforeEach, expect, inject, test } from 'vitest';
import { createDirect, executionName } from '../../src/direct.js';
import { createHourBank, possibleActs, type ErrorKind, type RequestsQuery, type RequestState, type Status } from '../../src/index.js';
import { configure } from '../appsync.js';

const { console: address, deployment } = inject('deployment');
const bank = createHourBank();
let user: string;

beforeEach(() => {
  user = 'ana';
  configure(`${address}/graphql`, () => user);
});

/** Waits for a status as whoever is signed in, with the client's own watch. */
async function until(requestId: string, wanted: Status): Promise<RequestState> {
  for await (const state of bank.watch(requestId)) {
    if (state.request?.status === wanted) return state;
    if (state.ended) throw new Error(`${state.request?.status}: ${state.request?.failureReason}`);
  }
  throw new Error('watch ended');
}
async function kindOf(promise: Promise<unknown>): Promise<ErrorKind | 'none'> {
  return promise.then(
    () => 'none' as const,
    (error: { kind: ErrorKind }) => error.kind,
  );
}
async function balance(userId: string): Promise<number> {
  user = userId;
  return bank.balance();
}

test('a service is asked for, accepted, received and paid', async () => {
  const [ana, ben] = [await balance('ana'), await balance('ben')];
  user = 'ana';
  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 2.5, timeoutSeconds: 600 });
  expect((await until(id, 'AWAITING_PROVIDER')).acts).toEqual(['cancel']);
  expect(await balance('ana')).toBe(ana - 2.5);

  user = 'ben';
  await bank.answer(id, 'accept');
  expect((await until(id, 'IN_PROGRESS')).acts).toEqual(['withdraw']);

  user = 'ana';
  const seen: RequestState[] = [];
  await bank.respond(id, 'confirm');
  for await (const state of bank.watch(id)) seen.push(state);
  expect(seen.at(-1)).toMatchObject({ ended: true, acts: [], request: { status: 'COMPLETED' } });
  expect(await balance('ben')).toBe(ben + 2.5);
});

test('a counter-offer is made and accepted; what was said cannot be said otherwise', async () => {
  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 1 });
  user = 'ben';
  await until(id, 'AWAITING_PROVIDER');
  await bank.answer(id, { counterOffer: 1.25 });
  const { request } = await until(id, 'NEGOTIATING');
  expect(request).toMatchObject({ offeredHours: 1.25, counterOfferHours: 1.25 });
  await bank.answer(id, { counterOffer: 1.25 });
  expect(await kindOf(bank.answer(id, 'decline'))).toBe('NotPossible');

  user = 'ana';
  expect(possibleActs(request!, 'ana')).toEqual(['acceptOffer', 'rejectOffer']);
  await bank.respond(id, 'acceptOffer');
  await until(id, 'IN_PROGRESS');
  user = 'ben';
  await bank.answer(id, 'withdraw');
  expect((await until(id, 'CANCELLED')).ended).toBe(true);
});

test('declined, cancelled, refused: each gives the hours back', async () => {
  const before = await balance('ana');
  const ask = (hours: number) => bank.submitRequest({ serviceId: 'cooking', providerId: 'ben', hours });
  const [declined, cancelled, refused] = [await ask(1), await ask(1), await ask(1000)];
  await until(cancelled, 'AWAITING_PROVIDER');
  await bank.respond(cancelled, 'cancel');
  await until(cancelled, 'CANCELLED');
  expect((await until(refused, 'REJECTED')).request).toMatchObject({
    failureReason: 'Not enough hours: 1000 needed',
    failureCode: 'NOT_ENOUGH_HOURS',
  });

  user = 'ben';
  await until(declined, 'AWAITING_PROVIDER');
  await bank.answer(declined, 'decline');
  await until(declined, 'DECLINED');
  expect(await balance('ana')).toBe(before);
});

test('everybody lists their own requests, by side and by status', async () => {
  const id = await bank.submitRequest({ serviceId: 'a list', providerId: 'ben', hours: 1 });
  await until(id, 'AWAITING_PROVIDER');
  const listed = async (query: RequestsQuery): Promise<string[]> => {
    const found: string[] = [];
    let nextToken: string | null = null;
    do {
      const page = await bank.requests({ ...query, limit: 2, nextToken });
      found.push(...page.requests.map((request) => request.id));
      ({ nextToken } = page);
    } while (nextToken !== null);
    return found;
  };
  expect(await listed({ role: 'requester', status: 'AWAITING_PROVIDER' })).toContain(id);
  expect(await listed({ role: 'provider' })).not.toContain(id);
  expect(await listed({ role: 'requester', status: ['PENDING', 'IN_PROGRESS'] })).not.toContain(id);

  user = 'ben';
  const inbox = bank.watchRequests({ role: 'provider', status: 'AWAITING_PROVIDER' });
  expect((await inbox.next()).value?.requests).toContainEqual(
    expect.objectContaining({
      request: expect.objectContaining({ id }),
      role: 'provider',
      acts: ['accept', 'decline', 'counterOffer'],
    }),
  );
  await inbox.return();
  user = 'chloé';
  expect(await listed({ status: 'AWAITING_PROVIDER' })).not.toContain(id);
});

test('the API keeps its rules, and the errors say which', async () => {
  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 1 });
  // the same again, as after a lost answer: the same request; another of this id: not
  expect(await bank.submitRequest({ id, serviceId: 'gardening', providerId: 'ben', hours: 1 })).toBe(id);
  expect(await kindOf(bank.submitRequest({ id, serviceId: 'gardening', providerId: 'ben', hours: 2 }))).toBe(
    'Conflict',
  );
  expect(await kindOf(bank.read('nowhere'))).toBe('NotFound');
  expect(await kindOf(bank.answer(id, 'accept'))).toBe('NotAllowed');

  user = 'chloé';
  expect(await kindOf(bank.read(id))).toBe('NotAllowed');
  expect(await kindOf(bank.watch(id).next())).toBe('NotAllowed');
  expect(await kindOf(bank.respond(id, 'cancel'))).toBe('NotAllowed');
});

test("the stream's execution has the name that the direct way gives it, also where the id is hashed", async () => {
  const id = `${crypto.randomUUID()}-42`;
  await bank.submitRequest({ id, serviceId: 'gardening', providerId: 'ben', hours: 1 });
  const { request } = await until(id, 'AWAITING_PROVIDER');
  expect(request?.stepFunctionExecutionArn?.split(':').at(-1)).toBe(await executionName(id));
});

test('the direct way starts the same execution, and follows it', async () => {
  const [accessKeyId, secretAccessKey] = deployment.credentials;
  configure(`${address}/graphql`, () => user, { accessKeyId, secretAccessKey });
  const direct = createDirect({
    stateMachineArn: deployment.outputs.serviceRequestWorkflowArn,
    clientConfig: { endpoint: deployment.endpoint },
  });
  const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'ben', hours: 1 });
  const executionArn = await direct.start(id);
  const { request } = await until(id, 'AWAITING_PROVIDER');
  expect(request?.stepFunctionExecutionArn).toBe(executionArn);
  expect(await direct.start(id)).toBe(executionArn);

  await bank.respond(id, 'cancel');
  const seen = [];
  for await (const { value } of direct.watchExecution(executionArn)) seen.push(value);
  expect(seen.at(-1)).toMatchObject({ status: 'SUCCEEDED' });
  expect(await kindOf(direct.describe(`${executionArn}x`))).toBe('NotFound');
});
