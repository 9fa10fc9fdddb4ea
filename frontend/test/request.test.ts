import { describe, expect, expectTypeOf, test } from 'vitest';
import {
  ACTS,
  FAILURE_CODES,
  isEnded,
  possibleActs,
  stepsOf,
  STATUSES,
  type Act,
  type ActIn,
  type ProviderAct,
  type RequesterAct,
  type ServiceRequest,
  type Status,
} from '../src/index.js';
import vectors from './vectors.json' with { type: 'json' };

const request = (status: Status, more: Partial<ServiceRequest> = {}): ServiceRequest => ({
  id: 'r1',
  serviceId: 'gardening',
  requesterId: 'alice',
  providerId: 'bob',
  estimatedHours: 2.5,
  providerResponseTimeoutSeconds: null,
  providerResponse: null,
  counterOfferHours: null,
  requesterResponse: null,
  status,
  offeredHours: null,
  failureReason: null,
  failureCode: null,
  stepFunctionExecutionArn: null,
  createdAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-01T00:00:00.000Z',
  ...more,
});

describe('as the workflow does', () => {
  test('the statuses and their ends', () => {
    expect(Object.fromEntries(STATUSES.map((status) => [status, isEnded(request(status))]))).toEqual(vectors.ended);
  });

  test('the codes of why a request ended', () => expect(FAILURE_CODES).toEqual(vectors.failureCodes));

  test('the answers', () => {
    const answers = Object.entries(ACTS).map(([act, { in: during, writes }]) => ({
      status: during.at(-1),
      act,
      writes,
    }));
    expect(answers).toEqual(expect.arrayContaining(vectors.answers));
    expect(answers).toHaveLength(vectors.answers.length);
  });
});

describe('possibleActs', () => {
  const all = (who: string, more?: Partial<ServiceRequest>) =>
    Object.fromEntries(
      STATUSES.map((status) => [status, possibleActs(request(status, more), who)]).filter(([, acts]) => acts!.length),
    );

  test('of the provider', () => {
    expect(all('bob')).toEqual({ AWAITING_PROVIDER: ['accept', 'decline', 'counterOffer'], IN_PROGRESS: ['withdraw'] });
  });

  test('of the requester', () => {
    expect(all('alice')).toEqual({
      PENDING: ['cancel'],
      VALIDATING: ['cancel'],
      ESCROWED: ['cancel'],
      AWAITING_PROVIDER: ['cancel'],
      NEGOTIATING: ['acceptOffer', 'rejectOffer'],
      IN_PROGRESS: ['confirm'],
    });
  });

  test('of a stranger', () => expect(all('mallory')).toEqual({}));

  test.each<[Status, Partial<ServiceRequest>, Act[], Act[]]>([
    // once the provider has spoken both wait for the workflow
    ['AWAITING_PROVIDER', { providerResponse: 'ACCEPTED' }, [], []],
    // the provider's word beats cancel
    ['AWAITING_PROVIDER', { requesterResponse: 'CANCELLED' }, [], ['accept', 'decline', 'counterOffer']],
    ['PENDING', { requesterResponse: 'CANCELLED' }, [], []],
    ['NEGOTIATING', { providerResponse: 'COUNTER_OFFER', requesterResponse: 'ACCEPTED' }, [], []],
    ['NEGOTIATING', { providerResponse: 'COUNTER_OFFER', requesterResponse: 'CANCELLED' }, [], []],
    // what was said in the negotiation stays in the record
    ['IN_PROGRESS', { providerResponse: 'COUNTER_OFFER', requesterResponse: 'ACCEPTED' }, ['confirm'], ['withdraw']],
    // confirm beats withdraw
    ['IN_PROGRESS', { providerResponse: 'WITHDRAWN' }, ['confirm'], []],
    ['IN_PROGRESS', { requesterResponse: 'COMPLETED' }, [], []],
  ])('in %s with %o', (status, said, requester, provider) => {
    expect(possibleActs(request(status, said), 'alice')).toEqual(requester);
    expect(possibleActs(request(status, said), 'bob')).toEqual(provider);
  });

  test('the types say the same', () => {
    expectTypeOf<ActIn<'NEGOTIATING'>>().toEqualTypeOf<'acceptOffer' | 'rejectOffer'>();
    expectTypeOf<ActIn<'IN_PROGRESS'>>().toEqualTypeOf<'withdraw' | 'confirm'>();
    expectTypeOf<ActIn<'COMPLETED'>>().toEqualTypeOf<never>();
    expectTypeOf<ProviderAct>().toEqualTypeOf<'accept' | 'decline' | 'counterOffer' | 'withdraw'>();
    expectTypeOf<RequesterAct>().toEqualTypeOf<'cancel' | 'acceptOffer' | 'rejectOffer' | 'confirm'>();
  });
});

describe('stepsOf', () => {
  const way = (of: ServiceRequest) => stepsOf(of).map(({ status, state }) => `${state} ${status}`);

  test('the way of a request that waits', () => {
    expect(way(request('AWAITING_PROVIDER'))).toEqual([
      'done PENDING',
      'done ESCROWED',
      'current AWAITING_PROVIDER',
      'ahead IN_PROGRESS',
      'ahead COMPLETED',
    ]);
  });

  test('a counter-offer is a step where there was one', () => {
    expect(way(request('COMPLETED', { offeredHours: 3 }))).toContain('done NEGOTIATING');
    expect(way(request('NEGOTIATING'))).toContain('current NEGOTIATING');
    expect(way(request('COMPLETED'))).not.toContain('done NEGOTIATING');
  });

  test('an end without a service says no more than is known', () => {
    expect(way(request('TIMED_OUT', { offeredHours: 3 }))).toEqual(['done PENDING', 'current TIMED_OUT']);
  });

  test.each(STATUSES)('exactly one step of %s is current, and it is that', (status) => {
    expect(stepsOf(request(status)).filter(({ state }) => state === 'current')).toEqual([
      expect.objectContaining({ status }),
    ]);
  });
});
