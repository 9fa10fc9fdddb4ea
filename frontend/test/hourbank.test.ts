import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createHourBank, HourBankError, type ErrorKind, type RequestState, type ServiceRequest } from '../src/index.js';
import { configure, startAppSync, type Answer, type AppSync } from './appsync.js';
import { eventually } from './waiting.js';

type Record_ = Partial<Record<keyof ServiceRequest, unknown>>;
const REQUEST: Record_ = {
  id: 'r1',
  serviceId: 'gardening',
  requesterId: 'alice',
  providerId: 'bob',
  estimatedHours: 2.5,
  createdAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-01T00:00:00.000Z',
};

let server: AppSync;
let user: string | null;
/** What the table holds, changed by the server as Amplify's resolvers would. */
let stored: Record_ | null;

const bank = createHourBank();
const operation = (query: string): string => /\b(get|create|update)ServiceRequest/.exec(query)![1]!;
const fails = (errorType: string, message = errorType): Answer => ({
  body: {
    data: { getServiceRequest: null },
    errors: [{ path: ['getServiceRequest'], errorType, message, data: null }],
  },
});

beforeEach(async () => {
  server = await startAppSync();
  user = 'alice';
  stored = { ...REQUEST, status: 'AWAITING_PROVIDER' };
  configure(server.url, () => user);
  server.script.answer = ({ query, variables }) => {
    const input = variables['input'] as Record_ | undefined;
    const name = operation(query);
    if (name === 'create') stored = { ...REQUEST, ...input };
    if (name === 'update') stored = { ...stored, ...input };
    return { body: { data: { [`${name}ServiceRequest`]: stored } } };
  };
});
afterEach(() => server.close());

async function kindOf(promise: Promise<unknown>): Promise<ErrorKind | 'none'> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    expect(error).toBeInstanceOf(HourBankError);
    expect((error as HourBankError).message).toMatch(/^[A-Z].*\.$/);
    return (error as HourBankError).kind;
  }
}

async function statesOf(watching: AsyncIterable<RequestState>, states: RequestState[] = []): Promise<RequestState[]> {
  for await (const state of watching) states.push(state);
  return states;
}

describe('submitRequest', () => {
  test('sends what Amplify lets a requester say, in the name of who is signed in', async () => {
    const id = await bank.submitRequest({
      serviceId: 'gardening',
      providerId: 'bob',
      hours: 2.5,
      timeoutSeconds: 3600,
    });

    expect(server.calls).toHaveLength(1);
    const { headers, variables } = server.calls[0]!;
    expect(variables).toEqual({
      input: {
        id,
        serviceId: 'gardening',
        requesterId: 'alice',
        providerId: 'bob',
        estimatedHours: 2.5,
        providerResponseTimeoutSeconds: 3600,
      },
    });
    // the user pool's token, although the app's default is an API key
    expect(headers.authorization).toMatch(/^ey/);
    expect(headers['x-api-key']).toBeUndefined();
  });

  test.each([
    [{ hours: 0 }, /hours/],
    [{ hours: 1.005 }, /hours/],
    [{ hours: Number.NaN }, /hours/],
    [{ providerId: 'alice' }, /yourself/],
    [{ providerId: '' }, /provider/],
    [{ serviceId: 'ü'.repeat(600) }, /service/],
    [{ timeoutSeconds: 59 }, /from 60 to 2592000/],
    [{ timeoutSeconds: 90.5 }, /whole number/],
    [{ timeoutSeconds: 2_592_001 }, /from 60 to 2592000/],
  ])('refuses %o before anything is sent', async (wrong, words) => {
    const submitted = bank.submitRequest({ serviceId: 'gardening', providerId: 'bob', hours: 1, ...wrong });

    await expect(submitted).rejects.toMatchObject({ kind: 'InvalidInput', message: expect.stringMatching(words) });
    expect(server.calls).toHaveLength(0);
  });

  test('takes seconds where the stack does', async () => {
    const local = createHourBank({ shortestTimeoutSeconds: 1 });
    expect(await kindOf(local.submitRequest({ serviceId: 's', providerId: 'bob', hours: 1, timeoutSeconds: 5 }))).toBe(
      'none',
    );
  });

  test('asks once although the first answer was lost and Amplify sent it again', async () => {
    const answer = server.script.answer;
    let created = 0;
    server.script.answer = (call) => {
      if (operation(call.query) !== 'create') return answer(call);
      if (++created > 1) return fails('DynamoDB:ConditionalCheckFailedException', 'The conditional request failed');
      answer(call);
      return 'cut';
    };

    const id = await bank.submitRequest({ serviceId: 'gardening', providerId: 'bob', hours: 2.5 });

    expect(created).toBe(2);
    expect(stored).toMatchObject({ id, requesterId: 'alice' });
  });

  test("does not take another's request for its own", async () => {
    stored = { ...REQUEST, serviceId: 'cooking' };
    const answer = server.script.answer;
    server.script.answer = (call) =>
      operation(call.query) === 'create' ? fails('DynamoDB:ConditionalCheckFailedException') : answer(call);

    expect(await kindOf(bank.submitRequest({ id: 'r1', serviceId: 'gardening', providerId: 'bob', hours: 2.5 }))).toBe(
      'Conflict',
    );
  });
});

describe('answers', () => {
  test.each([
    ['accept', { providerResponse: 'ACCEPTED' }],
    ['decline', { providerResponse: 'REJECTED' }],
    [{ counterOffer: 3.25 }, { providerResponse: 'COUNTER_OFFER', counterOfferHours: 3.25 }],
  ] as const)('the provider says %o', async (answer, written) => {
    user = 'bob';
    await bank.answer('r1', answer);
    expect(server.calls.at(-1)?.variables).toEqual({ input: { id: 'r1', ...written } });
  });

  test.each([
    ['ESCROWED', 'cancel', 'CANCELLED'],
    ['NEGOTIATING', 'acceptOffer', 'ACCEPTED'],
    ['NEGOTIATING', 'rejectOffer', 'REJECTED'],
    ['IN_PROGRESS', 'confirm', 'COMPLETED'],
  ] as const)('in %s the requester says %s', async (status, response, requesterResponse) => {
    stored = { ...REQUEST, status };
    await bank.respond('r1', response);
    expect(server.calls.at(-1)?.variables).toEqual({ input: { id: 'r1', requesterResponse } });
  });

  test.each([
    ['TIMED_OUT', 'bob', 'accept', 'NotPossible', /has ended/],
    ['IN_PROGRESS', 'alice', 'cancel', 'NotPossible', /in progress/],
    ['ESCROWED', 'bob', 'accept', 'NotPossible', /now/],
    ['AWAITING_PROVIDER', 'bob', 'withdraw', 'NotPossible', /now/],
    ['AWAITING_PROVIDER', 'alice', 'acceptOffer', 'NotPossible', /now/],
    ['AWAITING_PROVIDER', 'alice', 'accept', 'NotAllowed', /provider/],
    ['IN_PROGRESS', 'bob', 'confirm', 'NotAllowed', /requester/],
    ['IN_PROGRESS', 'mallory', 'confirm', 'NotAllowed', /requester/],
  ] as const)('in %s, %s cannot %s: %s', async (status, who, act, kind, words) => {
    stored = { ...REQUEST, status };
    user = who;
    const said = act === 'accept' || act === 'withdraw' ? bank.answer('r1', act) : bank.respond('r1', act);

    await expect(said).rejects.toMatchObject({ kind, message: expect.stringMatching(words) });
    expect(server.calls.map(({ query }) => operation(query))).toEqual(['get']);
  });

  test('saying the same again is nothing, whatever came of it since', async () => {
    user = 'bob';
    stored = { ...REQUEST, status: 'IN_PROGRESS', providerResponse: 'ACCEPTED' };
    await bank.answer('r1', 'accept');
    expect(server.calls.map(({ query }) => operation(query))).toEqual(['get']);
  });

  test('another counter-offer is not the same', async () => {
    user = 'bob';
    stored = { ...REQUEST, status: 'AWAITING_PROVIDER', providerResponse: 'COUNTER_OFFER', counterOfferHours: 3 };
    expect(await kindOf(bank.answer('r1', { counterOffer: 3 }))).toBe('none');
    expect(await kindOf(bank.answer('r1', { counterOffer: 4 }))).toBe('NotPossible');
    expect(await kindOf(bank.answer('r1', { counterOffer: -1 }))).toBe('InvalidInput');
  });
});

describe('failures', () => {
  const NULL = { data: { getServiceRequest: null } };
  test.each<[string, Answer, ErrorKind]>([
    ['nothing there', { body: NULL }, 'NotFound'],
    [
      'a rule of Amplify',
      fails('Unauthorized', 'Not Authorized to access getServiceRequest on type Query'),
      'NotAllowed',
    ],
    [
      'an expired token',
      { status: 401, body: { errors: [{ errorType: 'UnauthorizedException', message: 'Token has expired.' }] } },
      'SignedOut',
    ],
    ['401 with nothing', { status: 401, body: '' }, 'SignedOut'],
    [
      'a firewall',
      { status: 403, body: { errors: [{ errorType: 'WAFForbiddenException', message: '403 Forbidden' }] } },
      'NotAllowed',
    ],
    ['throttled', { status: 429, body: { errors: [{ errorType: 'TooManyRequestsException' }] } }, 'Throttled'],
    ['a throttled table', fails('DynamoDB:ProvisionedThroughputExceededException'), 'Throttled'],
    ['the server failed', { status: 503, body: 'Service Unavailable' }, 'Unavailable'],
    ['the server failed, 200', fails('InternalFailure'), 'Unavailable'],
    ['no connection', 'cut', 'Offline'],
    ['a login page', { body: '<html>Welcome to our hotel</html>' }, 'MalformedAnswer'],
    ['a login page with 400', { status: 400, body: '<html>' }, 'MalformedAnswer'],
    ['null', { body: 'null' }, 'MalformedAnswer'],
    ['a number', { body: '7' }, 'MalformedAnswer'],
    ['no data', { body: {} }, 'MalformedAnswer'],
    ['another field', { body: { data: { other: 1 } } }, 'MalformedAnswer'],
    ['a list', { body: { data: { getServiceRequest: [] } } }, 'MalformedAnswer'],
    [
      'hours as text',
      { body: { data: { getServiceRequest: { ...REQUEST, estimatedHours: '2.5' } } } },
      'MalformedAnswer',
    ],
    ['an unknown status', { body: { data: { getServiceRequest: { ...REQUEST, status: 'LOST' } } } }, 'MalformedAnswer'],
    ['no provider', { body: { data: { getServiceRequest: { ...REQUEST, providerId: null } } } }, 'MalformedAnswer'],
    [
      'a part of a record',
      {
        body: {
          data: { getServiceRequest: { ...REQUEST, offeredHours: null } },
          errors: [
            { path: ['getServiceRequest', 'offeredHours'], errorType: 'Unauthorized', message: 'Not Authorized' },
          ],
        },
      },
      'NotAllowed',
    ],
    [
      'another schema',
      { body: { data: null, errors: [{ message: "Field 'offeredHours' in type 'ServiceRequest' is undefined" }] } },
      'Refused',
    ],
    ['400', { status: 400, body: { errors: [{ errorType: 'BadRequestException' }] } }, 'Refused'],
  ])('%s', async (_, answer, kind) => {
    server.script.answer = () => answer;
    expect(await kindOf(bank.read('r1'))).toBe(kind);
  });

  test('nobody listens', async () => {
    await server.close();
    expect(await kindOf(bank.read('r1'))).toBe('Offline');
  });

  test('no answer for 30 s', async () => {
    server.script.answer = () => 'hang';
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const kind = kindOf(bank.read('r1'));
      while (server.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
      await vi.advanceTimersByTimeAsync(30_000);
      expect(await kind).toBe('Offline');
    } finally {
      vi.useRealTimers();
    }
  });

  test('nobody is signed in: nothing is sent', async () => {
    user = null;
    expect(await kindOf(bank.read('r1'))).toBe('SignedOut');
    expect(await kindOf(bank.submitRequest({ serviceId: 's', providerId: 'bob', hours: 1 }))).toBe('SignedOut');
    expect(server.calls).toHaveLength(0);
  });

  test('the session cannot be read', async () => {
    configure(server.url, () => {
      throw new Error('Invalid token payload');
    });
    expect(await kindOf(bank.read('r1'))).toBe('SignedOut');
    expect(await kindOf(bank.watch('r1').next())).toBe('SignedOut');
    expect(await kindOf(bank.submitRequest({ serviceId: 's', providerId: 'bob', hours: 1 }))).toBe('SignedOut');
  });

  test('the session cannot be renewed because there is no network', async () => {
    configure(server.url, () => {
      throw Object.assign(new Error('A network error has occurred.'), { name: 'NetworkError' });
    });
    expect(await kindOf(bank.read('r1'))).toBe('Offline');
    expect(await kindOf(bank.submitRequest({ serviceId: 's', providerId: 'bob', hours: 1 }))).toBe('Offline');
  });
});

describe('a schema that is older than a field', () => {
  const answers = (message: string) => {
    const answer = server.script.answer;
    server.script.answer = (call) =>
      call.query.includes('failureCode') ? { body: { data: null, errors: [{ message }] } } : answer(call);
  };

  // as AppSync's and as graphql-core's validation say it
  test.each([
    "Validation error of type FieldUndefined: Field 'failureCode' in type 'ServiceRequest' is undefined @ 'getServiceRequest/failureCode'",
    "Cannot query field 'failureCode' on type 'ServiceRequest'.",
  ])('is asked without it from then on: %s', async (message) => {
    answers(message);
    const older = createHourBank();
    expect(await older.read('r1')).toMatchObject({ id: 'r1', failureCode: null });
    await older.submitRequest({ serviceId: 'gardening', providerId: 'bob', hours: 1 });
    expect(server.calls.map(({ query }) => query.includes('failureCode'))).toEqual([true, false, false]);
  });

  test('another refusal is none of it', async () => {
    answers("Field 'offeredHours' in type 'ServiceRequest' is undefined");
    expect(await kindOf(createHourBank().read('r1'))).toBe('Refused');
    expect(server.calls).toHaveLength(1);
  });

  test.each([
    ['NOT_ENOUGH_HOURS', 'NOT_ENOUGH_HOURS'],
    ['A_LATER_ONE', null],
    [null, null],
    [7, null],
  ])('the code %j is %j', async (written, read) => {
    stored = { ...stored, failureCode: written };
    expect((await bank.read('r1')).failureCode).toBe(read);
  });
});

describe('lists and the balance', () => {
  type Page = { items: Record_[]; nextToken: string | null };
  let pages: Record<string, Page>;
  let hours: unknown;
  beforeEach(() => {
    pages = { first: { items: [{ ...REQUEST, status: 'ESCROWED' }], nextToken: null } };
    hours = 7.25;
    server.script.answer = ({ query, variables }) => {
      if (query.includes('getUserBalance')) return { body: { data: { getUserBalance: hours } } };
      return { body: { data: { listServiceRequests: pages[(variables['nextToken'] as string | null) ?? 'first'] } } };
    };
  });

  test('asks for a page of what is wanted, and says where the next begins', async () => {
    pages['first']!.nextToken = 'second';
    pages['second'] = { items: [], nextToken: null };
    const page = await bank.requests({ role: 'provider', status: ['PENDING', 'AWAITING_PROVIDER'], limit: 10 });
    expect(page).toMatchObject({ requests: [{ id: 'r1', status: 'ESCROWED' }], nextToken: 'second' });
    expect(await bank.requests({ nextToken: page.nextToken })).toEqual({ requests: [], nextToken: null });

    const [first, second] = server.calls.map(({ variables }) => variables);
    const { and, ...rest } = first!['filter'] as { and: { status: { ne: string } }[] };
    expect(rest).toEqual({ providerId: { eq: 'alice' } });
    // a request that nobody has begun with has no status: it is none of the others
    expect(and.map(({ status }) => status.ne)).toEqual(expect.not.arrayContaining(['PENDING', 'AWAITING_PROVIDER']));
    expect(and).toHaveLength(10);
    expect(first).toMatchObject({ limit: 10, nextToken: null });
    expect(second).toEqual({ filter: null, limit: 100, nextToken: 'second' });
  });

  test.each([{ data: { listServiceRequests: null } }, { data: { listServiceRequests: { items: [7] } } }])(
    'a list that is none: %j',
    async (body) => {
      server.script.answer = () => ({ body });
      expect(await kindOf(bank.requests())).toBe('MalformedAnswer');
    },
  );

  test.each([
    [{ availableBalance: 7.25 }, 7.25],
    [{ availableBalance: null }, 0],
    [null, 0],
  ])('a balance of %j is %d hours', async (balance, read) => {
    hours = balance;
    expect(await bank.balance()).toBe(read);
    expect(server.calls.at(-1)?.variables).toEqual({ userId: 'alice' });
  });

  test.each([7, {}, { availableBalance: '7' }])('a balance that is none: %j', async (balance) => {
    hours = balance;
    expect(await kindOf(bank.balance())).toBe('MalformedAnswer');
  });

  test('watches all pages of a list, the newest first, with what one can do', async () => {
    const later = { ...REQUEST, id: 'r2', status: 'IN_PROGRESS', createdAt: '2026-02-01T00:00:00.000Z' };
    pages = {
      first: { items: [{ ...REQUEST, status: 'ESCROWED' }], nextToken: 'second' },
      // a record that moved while it was read is there twice
      second: { items: [later, { ...REQUEST, status: 'AWAITING_PROVIDER' }], nextToken: null },
    };
    const watching = bank.watchRequests({ role: 'requester' });
    const { requests, trouble } = (await watching.next()).value!;
    expect(trouble).toBeUndefined();
    expect(requests!.map(({ request, role, acts, ended }) => [request.id, role, acts, ended])).toEqual([
      ['r2', 'requester', ['confirm'], false],
      ['r1', 'requester', ['cancel'], false],
    ]);

    const next = watching.next();
    pages = { first: { items: [later], nextToken: null } };
    bank.refresh('r1');
    expect((await next).value).toMatchObject({ requests: [{ request: { id: 'r2' } }] });
    await watching.return();
  });

  test('a list and the balance are read again when the app was told of something', async () => {
    hours = { availableBalance: 1 };
    const watching = bank.watchBalance();
    expect((await watching.next()).value).toEqual({ hours: 1, trouble: undefined });
    // time stands still: nothing but what is told makes it read
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      for (const [told, now] of [
        [undefined, 2],
        ['a request', 3],
      ] as const) {
        hours = { availableBalance: now };
        const next = watching.next();
        bank.refresh(told);
        expect((await next).value).toEqual({ hours: now, trouble: undefined });
      }
    } finally {
      vi.useRealTimers();
    }
    await watching.return();
  });
});

describe('say', () => {
  test.each([
    ['bob', 'accept', undefined, { providerResponse: 'ACCEPTED' }],
    ['bob', 'counterOffer', 3, { providerResponse: 'COUNTER_OFFER', counterOfferHours: 3 }],
    ['alice', 'cancel', undefined, { requesterResponse: 'CANCELLED' }],
  ] as const)('%s: %s', async (who, act, hours, written) => {
    user = who;
    await bank.say('r1', act, hours);
    expect(server.calls.at(-1)?.variables).toEqual({ input: { id: 'r1', ...written } });
  });

  test('an offer of nothing is refused', async () => {
    user = 'bob';
    expect(await kindOf(bank.say('r1', 'counterOffer'))).toBe('InvalidInput');
  });
});

describe('watch', () => {
  test('tells each change once, from the first to the end', async () => {
    const statuses = [undefined, 'ESCROWED', 'AWAITING_PROVIDER', 'AWAITING_PROVIDER', 'DECLINED'];
    server.script.answer = () => ({ body: { data: { getServiceRequest: { ...REQUEST, status: statuses.shift() } } } });
    const seen: RequestState[] = [];
    for await (const state of bank.watch('r1')) {
      seen.push(state);
      bank.refresh('r1');
    }

    expect(seen.map(({ request }) => request?.status)).toEqual([
      'PENDING',
      'ESCROWED',
      'AWAITING_PROVIDER',
      'DECLINED',
    ]);
    expect(seen.map(({ ended }) => ended)).toEqual([false, false, false, true]);
    expect(seen.map(({ acts }) => acts)).toEqual([['cancel'], ['cancel'], ['cancel'], []]);
  });

  test('goes on without a network, says so, and says when it is back', async () => {
    const answer = server.script.answer;
    const seen: [string | undefined, ErrorKind | undefined][] = [];
    for await (const { request, trouble } of bank.watch('r1')) {
      seen.push([request?.status, trouble?.kind]);
      if (seen.length === 1) server.script.answer = () => 'cut';
      if (seen.length === 2) server.script.answer = () => ({ status: 429, body: {} });
      if (seen.length === 3) server.script.answer = answer;
      if (seen.length === 4) stored = { ...stored, status: 'TIMED_OUT' };
      bank.refresh('r1');
    }

    expect(seen).toEqual([
      ['AWAITING_PROVIDER', undefined],
      ['AWAITING_PROVIDER', 'Offline'],
      ['AWAITING_PROVIDER', 'Throttled'],
      ['AWAITING_PROVIDER', undefined],
      ['TIMED_OUT', undefined],
    ]);
  });

  test('begins without a network', async () => {
    const answer = server.script.answer;
    server.script.answer = () => 'cut';
    const watching = bank.watch('r1');
    expect((await watching.next()).value).toMatchObject({
      request: undefined,
      ended: false,
      trouble: { kind: 'Offline' },
    });
    server.script.answer = answer;
    bank.refresh('r1');
    expect((await watching.next()).value).toMatchObject({ request: { id: 'r1' }, trouble: undefined });
    await watching.return();
  });

  test.each([
    ['Unauthorized', 'NotAllowed'],
    ['UnauthorizedException', 'SignedOut'],
  ])('throws what does not pass: %s', async (errorType, kind) => {
    server.script.answer = () => fails(errorType);
    await expect(bank.watch('r1').next()).rejects.toMatchObject({ kind });
  });

  test('waits for a record that a read has not seen yet', async () => {
    let reads = 0;
    const answer = server.script.answer;
    server.script.answer = (call) => (++reads < 2 ? { body: { data: { getServiceRequest: null } } } : answer(call));
    const watching = bank.watch('r1');
    expect((await watching.next()).value).toMatchObject({ request: { id: 'r1' } });
    await watching.return();
  });

  test('reads at once after an answer', async () => {
    user = 'bob';
    const watching = bank.watch('r1');
    await watching.next();
    // time stands still: nothing but the answer makes it read
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const next = watching.next();
      await bank.answer('r1', 'accept');
      expect((await next).value).toMatchObject({ request: { providerResponse: 'ACCEPTED' }, acts: [] });
    } finally {
      vi.useRealTimers();
    }
    await watching.return();
  });

  test.each(['while it waits', 'while it reads'])('stops at abort %s', async (when) => {
    const stop = new AbortController();
    const states: RequestState[] = [];
    if (when === 'while it reads') server.script.answer = () => 'hang';
    // time stands still, so that it does not read again
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const watched = statesOf(bank.watch('r1', { signal: stop.signal }), states);
      const begun = when === 'while it reads' ? server.calls : states;
      while (begun.length === 0) await new Promise((resolve) => setImmediate(resolve));
      stop.abort();

      await watched;
    } finally {
      vi.useRealTimers();
    }
    expect(states).toHaveLength(when === 'while it reads' ? 0 : 1);
    // a read that is under way is called off, not only forgotten
    await eventually(() => expect(server.script.unheard).toBe(when === 'while it reads' ? 1 : 0));
    expect(await statesOf(bank.watch('r1', { signal: stop.signal }))).toEqual([]);
    expect(server.calls).toHaveLength(1);
  });
});
